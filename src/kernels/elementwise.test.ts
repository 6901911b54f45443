import { describe, expect, test } from 'vitest';
import { runOnDevice, testDevice, testValues } from '../device/testing.ts';
import { add, axpy, copy, elementGrid, fill, scale, softCap } from './elementwise.ts';
import { poisoned, worstError } from './reference/compare.ts';
import { softCapReference } from './reference/elementwise.ts';

describe.each([1, 7, 255, 1025, 70_001])('%i elements of a larger buffer', (count) => {
  const x = testValues(count + 3, 1);
  const z = testValues(count + 3, 2);

  test('fill, copy, add', async () => {
    const out = await runOnDevice(
      { x, z, filled: poisoned(count + 3), copied: poisoned(count + 3), sum: poisoned(count + 3) },
      ({ x, z, filled, copied, sum }) => [
        fill({ y: filled }, count, 1.5),
        copy({ x, y: copied }, count),
        add({ a: x, b: z, y: sum }, count),
      ],
    );
    expect(out.filled.slice(0, count)).toEqual(new Float32Array(count).fill(1.5));
    expect(out.copied.slice(0, count)).toEqual(x.slice(0, count));
    expect(out.sum.slice(0, count)).toEqual(x.slice(0, count).map((value, i) => value + z[i]!));
    for (const tail of [out.filled, out.copied, out.sum])
      expect(tail.slice(count).every(Number.isNaN)).toBe(true);
  });

  test('axpy, scale', async () => {
    const out = await runOnDevice({ x, y: z, w: x }, ({ x, y, w }) => [
      axpy({ x, y }, count, -0.25),
      scale({ y: w }, count, 3),
    ]);
    const want = z.map((value, i) => (i < count ? value - 0.25 * x[i]! : value));
    expect(worstError(out.y, want)).toBeLessThan(1e-7);
    expect(out.w[count]).toBe(x[count]);
    expect(out.w[0]).toBeCloseTo(3 * x[0]!, 6);
  });
});

test('a grid of two dimensions covers every element', async ({ skip }) => {
  const device = await testDevice();
  const count = 65_535 * 1024 + 1_000;
  expect(elementGrid(count)).toEqual([65_535, 2, 1]);
  if (device.limits.bindingBytes < count * 4) skip('this adapter binds less than 256 MiB');
  const y = device.createBuffer(count * 4, 'large');
  device.run([fill({ y }, count - 1, 2)]);
  for (const at of [0, 65_535 * 1024 - 1, 65_535 * 1024, count - 2]) {
    expect((await device.downloadF32(y, 1, at * 4))[0]).toBe(2);
  }
  expect((await device.downloadF32(y, 1, (count - 1) * 4))[0]).toBe(0);
  device.destroyBuffer(y);
});

test('the soft cap is exact from tiny to huge logits', async () => {
  const z = Float32Array.from(
    [0, 1e-6, -1e-3, 0.5, 8.99, 9.01, -9.01, 30, -200, 1e4, -1e30, 3e38].concat([...testValues(500, 4, 60)]),
  );
  const out = await runOnDevice({ z }, ({ z }) => [softCap({ y: z }, 512, 30)]);
  out.z.forEach((got, i) => {
    const want = softCapReference(z[i]!, 30);
    expect(Math.abs(got - want)).toBeLessThanOrEqual(1e-6 * Math.abs(want));
  });
});
