import { cachedAttention as attend, cacheWrite } from '../../kernels/attentionCached.ts';
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
