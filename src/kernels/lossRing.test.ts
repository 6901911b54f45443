import { expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import { advance, guardStep, recordLoss, recordNorm } from './lossRing.ts';

test('replays walk around the ring, micro-batches add up', async () => {
  const device = await testDevice();
  const rows = 301;
  const losses = testValues(rows * 2, 1).map(Math.abs);
  const weights = testValues(rows * 2, 2).map((x, i) => (i % 5 === 0 ? 0 : x / rows));
  losses[0] = Number.NaN;
  const buffers = {
    losses: device.createFrom(losses, 'losses'),
    weights: device.createFrom(weights, 'weights'),
    gradScale: device.createFrom(Float32Array.of(0.5, 2), 'gradScale'),
    state: device.createFrom(Uint32Array.of(9, 6), 'state'),
    ring: device.createFrom(new Float32Array(4 * 4).fill(Number.NaN), 'ring'),
  };
  const place = { slot: 1, length: 4 };
  const program = device.record(
    [
      recordLoss(buffers, place, rows),
      recordLoss(buffers, place, rows - 1, true),
      recordNorm(buffers, place),
      advance(buffers, 1),
    ],
    'ring',
  );
  for (let step = 0; step < 3; step++) await program.run();
  const sum = (term: number, upTo: number) =>
    Array.from({ length: upTo }, (_, r) => 2 * r + term).reduce(
      (total, i) => total + (weights[i] === 0 ? 0 : weights[i]! * losses[i]!),
      0,
    );
  const ring = await device.downloadF32(buffers.ring, 16);
  for (const entry of [2, 3, 0]) {
    expect(ring[entry * 4]).toBeCloseTo(sum(0, rows) + sum(0, rows - 1), 6);
    expect(ring[entry * 4 + 1]).toBeCloseTo(sum(1, rows) + sum(1, rows - 1), 6);
    expect([...ring.slice(entry * 4 + 2, entry * 4 + 4)]).toEqual([2, 0.5]);
  }
  expect(ring.slice(4, 8).every(Number.isNaN)).toBe(true);
  expect([...(await device.downloadU32(buffers.state, 2))]).toEqual([9, 9]);
  program.dispose();
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
});

test('a step that is not finite holds back itself and all steps after it', async () => {
  const device = await testDevice();
  const buffers = {
    gradScale: device.createBuffer(8, 'gradScale'),
    state: device.createFrom(Uint32Array.of(0, 0), 'state'),
    ring: device.createBuffer(4 * 4 * 5, 'ring'),
  };
  const place = { slot: 0, length: 5 };
  const program = device.record([guardStep(buffers, place, 1), advance(buffers, 0)], 'guard');
  const scaleAfter = async (scale: number, losses: readonly [number, number]) => {
    const [at = 0] = await device.downloadU32(buffers.state, 1);
    device.upload(buffers.ring, Float32Array.from(losses), (at % 5) * 16);
    device.upload(buffers.gradScale, Float32Array.of(scale, 1));
    await program.run();
    return (await device.downloadF32(buffers.gradScale, 1))[0];
  };
  const restart = () => device.upload(buffers.state, Uint32Array.of(0, 0));
  for (const bad of [
    [0.5, [Number.NaN, 1]],
    [0.5, [1, Number.NEGATIVE_INFINITY]],
    [0, [1, 1]],
  ] as const) {
    restart();
    expect(await scaleAfter(0.5, [1, 2])).toBe(0.5);
    expect(await scaleAfter(bad[0], bad[1])).toBe(0);
    expect(await scaleAfter(0.5, [1, 2])).toBe(0);
  }
  restart();
  expect(await scaleAfter(1, [3.4e38, -3.4e38])).toBe(1);
  program.dispose();
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
});
