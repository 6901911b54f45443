import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { poisoned, worstError } from './reference/compare.ts';
import { scaledSum } from './scaledSum.ts';

test.each([1, 7, 1023, 1025, 4099])('%i elements', async (count) => {
  const [x, residual] = [testValues(count, 1), testValues(count, 2)];
  const out = await runOnDevice(
    { x, residual, y: poisoned(count), sum: residual, both: poisoned(count) },
    (b) => [
      scaledSum({ x: b.x, y: b.y }, count, -0.3),
      scaledSum({ x: b.x, y: b.sum }, count, 0.7, true),
      scaledSum({ x: b.x, residual: b.residual, y: b.both }, count, 2.5),
    ],
  );
  const mix = (a: number, other: number) => Array.from(x, (value, i) => a * value + other * residual[i]!);
  expect(worstError(out.y, mix(-0.3, 0))).toBeLessThan(1e-6);
  expect(worstError(out.sum, mix(0.7, 1))).toBeLessThan(1e-6);
  expect(worstError(out.both, mix(2.5, 1))).toBeLessThan(1e-6);
});
