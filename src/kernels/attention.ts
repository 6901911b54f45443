/**
 * Causal attention for training, after FlashAttention-2 (Dao 2023): nothing of size T x T is stored; the forward pass
 * keeps o [B * T, H * d] and the log-sum-exp of every score row, lse [B * T, H], and the backward pass recomputes the
 * probabilities from them.
 *
 *   s[i, j] = cap * tanh(scale * <q[i], k[j]> / cap)     (scale * <q[i], k[j]> where cap is 0)
 *   for keys j with i - window < j <= i                  (0 <= j <= i where window is 0)
 *   p = softmax(s),  o[i] = sum_j p[i, j] v[j]
 *
 * q is [B * T, H * d], k and v are [B * T, Hkv * d]; H / Hkv query heads share a key head. Sequences padded on the right
 * need no mask. Grids are [row tiles, heads, batch], heavy tiles first. Invisible tiles are skipped, so the cost is
 * about T^2 / 2 (or T * window) scores a head: 4 d flops each forward, 14 d backward. No atomics: dq is summed
 * query-major, dk and dv key-major over all heads of the group, each in a fixed order (`attentionWhole.ts`: all at once). Two families of kernels do this:
 * `attentionTiled.ts` for GPUs, `attentionPlain.ts` for software adapters, WASM and heads that no tile fits.
 */

import type { Tuning } from '../device/device.ts';
import { type Dispatch, dispatch, type Grid } from '../device/kernel.ts';
import {
  checkHeadWidth,
  PLAIN_ROWS,
  plainForwardKernel,
  plainKeysKernel,
  plainQueriesKernel,
} from './attentionPlain.ts';
import { type AttentionShape, attentionGrid, attentionParams } from './attentionScore.ts';
import { type AttentionPass, type AttentionTile, attentionTile, tileRows } from './attentionTile.ts';
import { tiledForwardKernel, tiledKeysKernel, tiledQueriesKernel } from './attentionTiled.ts';
import { takesWholeHeads, wholeHeadsKernel } from './attentionWhole.ts';

/** o [B * T, H * d] and lse [B * T, H] from q, k and v. */
export function attentionForward<B>(
  { q, k, v, o, lse }: { q: B; k: B; v: B; o: B; lse: B },
  shape: AttentionShape,
  tuning: Tuning,
): Dispatch<B> {
  checkHeadWidth(shape.headWidth, tuning);
  const tile = tuning !== 'gpu' ? undefined : attentionTile(shape.headWidth, 'forward');
  const capped = shape.cap > 0;
  return dispatch<string, string, B>(
    tile ? tiledForwardKernel(tile, false, capped) : plainForwardKernel(false, capped),
    { q, k, v, o, lse },
    attentionParams(shape, tile ? 4 : 1),
    passGrid(shape, shape.heads, tile),
  );
}

/**
 * dq, dk and dv, each written once, from the gradient `grad` of o and what the forward pass saved. `delta` [B * T, H]
 * is scratch of `attentionDeltaBytes`.
 */
export function attentionBackward<B>(
  buffers: { q: B; k: B; v: B; o: B; lse: B; grad: B; delta: B; dq: B; dk: B; dv: B },
  shape: AttentionShape,
  tuning: Tuning,
): Dispatch<B>[] {
  const { q, k, v, o, lse, grad, delta, dq, dk, dv } = buffers;
  if (tuning === 'wasm' && takesWholeHeads(shape)) {
    const grid = [shape.kvHeads, shape.batch, 1] as const;
    const all = { q, k, v, o, grad, lse, delta, dq, dk, dv };
    return [dispatch(wholeHeadsKernel, all, attentionParams(shape, 1), grid)];
  }
  const tileOf = (pass: AttentionPass) =>
    tuning !== 'gpu' ? undefined : attentionTile(shape.headWidth, pass);
  const [queries, keys] = [tileOf('queries'), tileOf('keys')];
  const params = attentionParams(shape, queries ? 4 : 1);
  const capped = shape.cap > 0;
  return [
    dispatch(
      queries ? tiledQueriesKernel(queries, capped) : plainQueriesKernel(capped),
      { q, k, v, o, grad, lse, dq, delta },
      params,
      passGrid(shape, shape.heads, queries),
    ),
    dispatch(
      keys ? tiledKeysKernel(keys, capped) : plainKeysKernel(capped),
      { q, k, v, grad, lse, delta, dk, dv },
      params,
      passGrid(shape, shape.kvHeads, keys),
    ),
  ];
}

function passGrid(shape: AttentionShape, heads: number, tile: AttentionTile | undefined): Grid {
  return tile
    ? attentionGrid(shape, heads, tileRows(tile), tile.parts)
    : attentionGrid(shape, heads, PLAIN_ROWS);
}

/** Bytes of the scratch buffer `delta`. */
export function attentionDeltaBytes({ batch, tokens, heads }: AttentionShape): number {
  return batch * tokens * heads * 4;
}
