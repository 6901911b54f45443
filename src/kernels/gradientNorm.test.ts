import { expect, test } from 'vitest';
import { runOnDevice, type TestArray, testValues } from '../device/testing.ts';
import { clipScale, gradientNormBytes } from './gradientNorm.ts';
import { poisoned } from './reference/compare.ts';

async function run(gradients: readonly Float32Array<ArrayBuffer>[], clip: number) {
  const counts = gradients.map((g) => g.length);
  const arrays: Record<string, TestArray> = Object.fromEntries(gradients.map((g, i) => [`g${i}`, g]));
  const partials = poisoned(gradientNormBytes(counts) / 4);
  const out = await runOnDevice(
    { ...arrays, partials, gradScale: poisoned(2) } as Record<string, TestArray>,
    (b) =>
      clipScale(
        counts.map((count, i) => ({ buffer: b[`g${i}`]!, count })),
        { partials: b.partials!, gradScale: b.gradScale! },
        clip,
      ),
  );
  return { scale: out.gradScale![0]!, norm: out.gradScale![1]! };
}

function norm(gradients: readonly Float32Array[]): number {
  return Math.hypot(...gradients.map((g) => Math.sqrt(g.reduce((sum, x) => sum + x * x, 0))));
}

test.each([[[1]], [[3, 257]], [[2049, 65, 1]], [[700_001, 5000]]])(
  'the norm of %j elements',
  async (counts) => {
    const gradients = counts.map((count, i) => testValues(count, i + 1, i + 0.5));
    const want = norm(gradients);
    const got = await run(gradients, 1);
    expect(Math.abs(got.norm / want - 1)).toBeLessThan(1e-6);
    expect(got.scale).toBeCloseTo(Math.min(1, 1 / (want + 1e-6)), 6);
    expect(await run(gradients, 1)).toEqual(got);
  },
);

test('clips only what is longer than the limit, and not at all at 0', async () => {
  const gradients = [Float32Array.of(3, 4)];
  expect((await run(gradients, 10)).scale).toBe(1);
  expect((await run(gradients, 2.5)).scale).toBeCloseTo(2.5 / 5.000001, 7);
  expect((await run(gradients, 0)).scale).toBe(1);
  expect((await run([new Float32Array(10)], 1)).scale).toBe(1);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e30])(
  'a gradient with %d gives a factor of 0',
  async (bad) => {
    const g = testValues(5000);
    g[4321] = bad;
    for (const clip of [0, 1]) expect((await run([testValues(10), g], clip)).scale).toBe(0);
  },
);
