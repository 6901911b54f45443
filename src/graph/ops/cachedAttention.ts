import { attentionCached, attentionCachedScratchBytes, cacheWrite } from '../../kernels/attentionCached.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';
import type { AttentionOptions } from './attention.ts';

/** Keys and values of one layer, f32 `[capacity, kvHeads · headDim]` each. */
export interface KvCache {
  readonly k: Tensor;
  readonly v: Tensor;
  /** Positions. */
  readonly capacity: number;
}

/**
 * Attention of new rows over a cache that they are first written into. `state` holds [position of the first row, number
 * of valid rows]. Inference only.
 */
export function cachedAttention(
  graph: Graph,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions,
  cache: KvCache,
  state: Tensor,
): Tensor {
  const { length: tokens, headDim: headWidth, batch: _, ...rest } = options;
  const shape = { ...rest, tokens, headWidth, capacity: cache.capacity };
  const width = options.kvHeads * headWidth;
  graph.emit(
    cacheWrite(
      { k, v, state, kCache: cache.k, vCache: cache.v },
      { tokens, width, capacity: cache.capacity },
    ),
  );
  const o = graph.tensor('attended', q.shape);
  const bytes = attentionCachedScratchBytes(shape, graph.tuning);
  const buffers = { q, k: cache.k, v: cache.v, state, o };
  const scratch = bytes > 0 ? { scratch: graph.tensor('attention spans', [bytes / 4]) } : {};
  graph.emit(attentionCached({ ...buffers, ...scratch }, shape, graph.tuning));
  return o;
}
