import { describe, expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { gatedBackward, gatedForward } from './gated.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';
import { gatedBackwardReference, gatedReference } from './reference/gated.ts';

describe.each(['silu', 'gelu_tanh'] as const)('%s', (activation) => {
  test('the reference gradients are the central differences', () => {
    const g = Float64Array.from(testValues(9, 1, 4));
    const u = Float64Array.from(testValues(9, 2));
    const dh = testValues(9, 3);
    const loss = () => dotProduct(gatedReference(g, u, activation), dh);
    const { dg, du } = gatedBackwardReference(g, u, dh, activation);
    expect(worstError(dg, centralDifferences(g, loss))).toBeLessThan(1e-8);
    expect(worstError(du, centralDifferences(u, loss))).toBeLessThan(1e-8);
  });

  test.each([1, 7, 255, 257, 4099])('%i elements agree with the reference', async (count) => {
    const [g, u, dh] = [testValues(count, 1, 6), testValues(count, 2), testValues(count, 3)];
    const out = await runOnDevice(
      { g, u, dh, h: poisoned(count), dg: poisoned(count), du: poisoned(count) },
      (b) => [gatedForward(b, count, activation), gatedBackward(b, count, activation)],
    );
    const want = gatedBackwardReference(g, u, dh, activation);
    expect(worstError(out.h, gatedReference(g, u, activation))).toBeLessThan(2e-6);
    expect(worstError(out.dg, want.dg)).toBeLessThan(2e-6);
    expect(worstError(out.du, want.du)).toBeLessThan(2e-6);
  });

  test('large gates saturate and stay finite', async () => {
    const g = Float32Array.of(-3e38, -1e20, -1e5, -200, -50, -20, -0, 0, 20, 50, 200, 1e5, 1e20, 3e38);
    const u = new Float32Array(g.length).fill(0.5);
    const out = await runOnDevice(
      { g, u, dh: u, h: poisoned(g.length), dg: poisoned(g.length), du: poisoned(g.length) },
      (b) => [gatedForward(b, g.length, activation), gatedBackward(b, g.length, activation)],
    );
    for (const name of ['h', 'dg', 'du'] as const) expect(out[name].every(Number.isFinite)).toBe(true);
    expect(Array.from(out.h.slice(8))).toEqual(Array.from(g.slice(8), (z) => Math.fround(z * 0.5)));
    expect(Array.from(out.dg.slice(8))).toEqual(new Array(6).fill(0.25));
    for (let i = 2; i < 5; i++) expect(Math.abs(out.h[i]!)).toBeLessThan(1e-15);
  });
});
