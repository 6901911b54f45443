import { AlloyError } from '../../util/errors.ts';
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
export function cachedAttention(_g: Graph, _q: Tensor, _k: Tensor, _v: Tensor, _o: AttentionOptions, _c: KvCache, _s: Tensor): Tensor {
  throw new AlloyError('internal', 'todo');
}
