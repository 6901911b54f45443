import { describe, expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { activateBackward, activateForward } from './activate.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';
import { activationReference, activationSlopeReference } from './reference/gated.ts';

const activations = ['silu', 'gelu_tanh', 'gelu', 'gelu_quick', 'relu', 'relu_squared'] as const;

describe.each(activations)('%s', (activation) => {
  test('the reference slope is the central difference', () => {
    const x = Float64Array.from(testValues(21, 1, 4));
    const dh = testValues(21, 3);
    const loss = () =>
      dotProduct(
        x.map((z) => activationReference(z, activation)),
        dh,
      );
    const dx = x.map((z, i) => activationSlopeReference(z, activation) * dh[i]!);
    expect(worstError(dx, centralDifferences(x, loss))).toBeLessThan(1e-8);
  });

  test.each([1, 7, 1023, 1025, 4099])('%i elements agree with the reference', async (count) => {
    const [x, dh] = [testValues(count, 1, 6), testValues(count, 3)];
    const out = await runOnDevice({ x, dh, h: poisoned(count), dx: poisoned(count) }, (b) => [
      activateForward(b, count, activation),
      activateBackward(b, count, activation),
    ]);
    const slopes = x.map((z, i) => activationSlopeReference(z, activation) * dh[i]!);
    expect(
      worstError(
        out.h,
        Array.from(x, (z) => activationReference(z, activation)),
      ),
    ).toBeLessThan(1e-6);
    expect(worstError(out.dx, slopes)).toBeLessThan(2e-6);
  });
});

test('the exact gelu is within a few roundings of the normal distribution, in its left tail too', async () => {
  const x = Float32Array.from({ length: 4001 }, (_, i) => -8 + i / 250);
  const out = await runOnDevice({ x, h: poisoned(x.length) }, (b) => [activateForward(b, x.length, 'gelu')]);
  let worst = 0;
  x.forEach((z, i) => {
    const want = activationReference(z, 'gelu');
    worst = Math.max(worst, Math.abs(out.h[i]! - want) / Math.max(Math.abs(want), 1e-30));
  });
  expect(worst).toBeLessThan(1e-5);
  const near = Array.from(x, (z, i) => Math.abs(out.h[i]! - activationReference(z, 'gelu')));
  expect(Math.max(...near.filter((_, i) => Math.abs(x[i]!) < 2))).toBeLessThan(3e-7);
});

test.each(activations.slice(0, 4))('%s stays finite for large values', async (activation) => {
  const x = Float32Array.of(-3e38, -1e20, -1e5, -200, -50, -20, -0, 0, 20, 50, 200, 1e5, 1e20, 3e38);
  const dh = new Float32Array(x.length).fill(0.5);
  const out = await runOnDevice({ x, dh, h: poisoned(x.length), dx: poisoned(x.length) }, (b) => [
    activateForward(b, x.length, activation),
    activateBackward(b, x.length, activation),
  ]);
  expect(Array.from(out.h.slice(8))).toEqual(Array.from(x.slice(8)));
  expect(Array.from(out.dx.slice(8))).toEqual(new Array(6).fill(0.5));
  expect([...out.h, ...out.dx].every(Number.isFinite)).toBe(true);
  for (let i = 2; i < 5; i++) expect(Math.abs(out.h[i]!)).toBeLessThan(1e-15);
  for (let i = 2; i < 5; i++) expect(Math.abs(out.dx[i]!)).toBeLessThan(1e-15);
});
