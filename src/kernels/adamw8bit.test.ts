import { expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import type { AdamwSettings } from './adamw.ts';
import { adamw8bit, adamw8bitHyper, momentBytes, momentCodes, momentCodeTable } from './adamw8bit.ts';
import { adamwReference } from './reference/adamw.ts';
import { adamw8bitReference, type PackedState, randomShare, unpackedMoments } from './reference/adamw8bit.ts';
import { worstError } from './reference/compare.ts';

const settings = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05 };

test('the codes rise, cover seven powers of ten, and have 0 and 1 where they should', () => {
  const { first, second } = momentCodes();
  for (const codes of [first, second]) {
    expect(codes).toHaveLength(256);
    expect(codes.every((value, i) => i === 0 || value > codes[i - 1]!)).toBe(true);
    expect(codes[255]).toBe(1);
  }
  expect(first[127]).toBe(0);
  expect(first[128]).toBeLessThan(1e-6);
  expect(second[0]).toBeGreaterThan(0);
  expect(second[0]).toBeLessThan(2e-7);
  for (const x of [0.11, 0.5, 0.99]) {
    const gap = (codes: Float32Array) =>
      codes.reduce((best, value) => Math.min(best, Math.abs(value - x)), 1);
    expect(gap(first)).toBeLessThan(0.0071);
    expect(gap(second)).toBeLessThan(0.0036);
  }
});

async function onDevice(count: number, start: Float32Array<ArrayBuffer>) {
  const device = await testDevice();
  const bytes = momentBytes(count);
  const buffers = {
    w: device.createFrom(start, 'w'),
    g: device.createBuffer(count * 4, 'g'),
    m: device.createBuffer(bytes.moment, 'm'),
    v: device.createBuffer(bytes.moment, 'v'),
    scales: device.createBuffer(bytes.scales, 'scales'),
    codes: device.createFrom(momentCodeTable(), 'codes'),
    hyper: device.createBuffer(36, 'hyper'),
    gradScale: device.createFrom(Float32Array.of(0.5), 'scale'),
  };
  const program = device.record([adamw8bit(buffers, count)], 'adamw8bit');
  return {
    step(g: Float32Array<ArrayBuffer>, now: AdamwSettings, gradScale: number) {
      device.upload(buffers.g, g);
      device.upload(buffers.hyper, adamw8bitHyper(now));
      device.upload(buffers.gradScale, Float32Array.of(gradScale));
      program.submit();
    },
    async read() {
      const codes = async (name: 'm' | 'v') => new Uint8Array(await device.download(buffers[name], 0, count));
      const scales = Float64Array.from(await device.downloadF32(buffers.scales, bytes.scales / 4));
      const w = await device.downloadF32(buffers.w, count);
      return { w: Float64Array.from(w), m: await codes('m'), v: await codes('v'), scales };
    },
    dispose() {
      program.dispose();
      for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
    },
  };
}

function empty(start: Float32Array): PackedState {
  const count = start.length;
  return {
    w: Float64Array.from(start),
    m: new Uint8Array(count),
    v: new Uint8Array(count),
    scales: new Float64Array(2 * Math.ceil(count / 256)),
  };
}

test.each([1, 255, 257, 1030])('six steps over %i elements agree with the reference', async (count) => {
  const start = testValues(count, 3);
  const device = await onDevice(count, start);
  const state = empty(start);
  for (let step = 1; step <= 6; step++) {
    const now = { ...settings, step, learningRate: settings.learningRate / step };
    const g = testValues(count, step, 10 ** (step - 4)).map((x, i) => (i % 7 === 0 ? 0 : x * 10 ** -(i % 5)));
    device.step(g, now, 0.5);
    adamw8bitReference(state, g, now, 0.5);
  }
  const got = await device.read();
  device.dispose();
  expect(worstError(got.w, state.w)).toBeLessThan(1e-4);
  expect(worstError(got.scales, state.scales)).toBeLessThan(1e-5);
  // A quotient that lies on the edge between two codes may fall to either side in single precision.
  for (const moment of ['m', 'v'] as const) {
    const other = got[moment].filter((code, i) => code !== state[moment][i]);
    expect(other.length).toBeLessThanOrEqual(Math.ceil(count / 100));
    expect(got[moment].every((code, i) => Math.abs(code - state[moment][i]!) <= 1)).toBe(true);
  }
});

test('a factor of 0 changes nothing, and blocks of zeros stay zero', async () => {
  const start = testValues(300, 5);
  const device = await onDevice(300, start);
  device.step(new Float32Array(300).fill(Number.NaN), { ...settings, step: 1 }, 0);
  const untouched = await device.read();
  expect(untouched.w).toEqual(Float64Array.from(start));
  expect([...untouched.m, ...untouched.v, ...untouched.scales].every((x) => x === 0)).toBe(true);
  const g = testValues(300, 6).map((x, i) => (i < 256 ? 0 : x));
  device.step(g, { ...settings, step: 1, weightDecay: 0 }, 1);
  const after = await device.read();
  device.dispose();
  expect(after.w.slice(0, 256)).toEqual(Float64Array.from(start.slice(0, 256)));
  expect([...after.scales.slice(0, 2)]).toEqual([0, 0]);
  expect(
    unpackedMoments(after)
      .m.slice(0, 256)
      .every((x) => Math.abs(x) === 0),
  ).toBe(true);
  expect(after.w.slice(256)).not.toEqual(Float64Array.from(start.slice(256)));
});

test('over many steps the second moment stays right in the mean, and so do the weights', () => {
  const count = 512;
  const start = testValues(count, 7);
  const packed = empty(start);
  const exact = { w: Float64Array.from(start), m: new Float64Array(count), v: new Float64Array(count) };
  for (let step = 1; step <= 400; step++) {
    const g = testValues(count, step).map((x, i) => (x + 0.3) * 10 ** -(i % 4));
    const now = { ...settings, step, learningRate: 1e-3 };
    adamw8bitReference(packed, g, now);
    adamwReference(exact, g, now);
  }
  const ratios = unpackedMoments(packed).v.map((v, i) => v / exact.v[i]!);
  for (let decade = 0; decade < 4; decade++) {
    const some = ratios.filter((_, i) => i % 4 === decade);
    expect(Math.abs(some.reduce((sum, x) => sum + x, 0) / some.length - 1)).toBeLessThan(0.08);
  }
  const moved = exact.w.reduce((sum, w, i) => sum + (w - start[i]!) ** 2, 0);
  const apart = exact.w.reduce((sum, w, i) => sum + (w - packed.w[i]!) ** 2, 0);
  expect(Math.sqrt(apart / moved)).toBeLessThan(0.1);
});

test('the hash spreads evenly', () => {
  for (const step of [1, 2, 1000]) {
    const shares = Array.from({ length: 4096 }, (_, i) => randomShare(i, step));
    const mean = shares.reduce((sum, x) => sum + x, 0) / shares.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
    const neighbours = shares.reduce((sum, x, i) => sum + (x - 0.5) * ((shares[i + 1] ?? 0.5) - 0.5), 0);
    expect(Math.abs(neighbours / shares.length)).toBeLessThan(0.005);
  }
});
