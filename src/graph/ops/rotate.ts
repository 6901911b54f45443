import { rope } from '../../kernels/rope.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** Cosines and sines of a rope for every position, f32 `[positions, rot / 2, 2]`. */
export interface RotaryTable {
  readonly table: Tensor;
  /** Rotated elements of a head. */
  readonly rot: number;
}

/**
 * Rotary position embedding, in place: the value given is the value returned. Row r stands at position `r % length`,
 * plus `state[0]` where there is a cache.
 */
export function rotate(
  graph: Graph,
  x: Tensor,
  { table, rot }: RotaryTable,
  options: {
    readonly heads: number;
    readonly headDim: number;
    readonly length: number;
    readonly state: Tensor | undefined;
  },
): Tensor {
  const { heads, headDim, length, state } = options;
  const shape = { rows: x.bytes / 4 / (heads * headDim), tokens: length, heads, headWidth: headDim, rot };
  graph.emit(rope(state ? { x, table, state } : { x, table }, shape));
  graph.onBackward([x], (gradients) => {
    graph.emit(rope({ x: gradients.own(x), table }, shape, true));
  });
  return x;
}
