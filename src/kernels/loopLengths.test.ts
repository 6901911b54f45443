import { expect, test } from 'vitest';
import { loopTurns } from '../device/webgpu/loopTurns.ts';
import { attentionBackward, attentionForward } from './attention.ts';
import { matmulNT } from './matmul.ts';

/** The guess that decides how much of a new dispatch is submitted at once must see what makes it long. */
test.each(['software', 'gpu'] as const)('the loops of %s kernels grow with what they sum over', (tuning) => {
  const product = (k: number) => {
    const weight = { data: 1, scales: undefined, format: { kind: 'f32' } } as const;
    const { kernel, params } = matmulNT<number | undefined>(
      { x: 0, weight, y: 2 },
      { m: 512, n: 512, k },
      tuning,
    );
    return loopTurns(kernel, params);
  };
  expect(product(32_768) / product(512)).toBe(64);
  const attention = (tokens: number) => {
    const shape = { batch: 1, tokens, heads: 4, kvHeads: 2, headWidth: 64, window: 0, scale: 1, cap: 0 };
    const forward = attentionForward({ q: 0, k: 1, v: 2, o: 3, lse: 4 }, shape, tuning);
    const all = { q: 0, k: 1, v: 2, o: 3, lse: 4, grad: 5, delta: 6, dq: 7, dk: 8, dv: 9 };
    return [forward, ...attentionBackward(all, shape, tuning)].map(({ kernel, params }) =>
      loopTurns(kernel, params),
    );
  };
  const [short, long] = [attention(512), attention(8192)];
  long.forEach((turns, pass) => {
    expect(turns / short[pass]!).toBeGreaterThanOrEqual(8);
  });
});
