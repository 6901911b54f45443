import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { WeightFormat } from '../kernels/weightFormat.ts';

/** A value of the graph: either at home in a buffer of its own (`home`), or in a slot that the plan will choose. */
export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly home: DeviceBuffer | undefined;
  /** Whether the reverse walk carries a gradient into this value. */
  readonly needsGradient: boolean;
  /** Where a trainable parameter's gradient is summed up, f32 of the same shape. */
  readonly gradient: Tensor | undefined;
}

/** A run of rows of a weight that lies in buffers of its own, small enough for one binding. */
export interface WeightChunk {
  readonly rowStart: number;
  readonly rows: number;
  readonly data: Tensor;
  /** Scales and minima of affine formats. */
  readonly scales: Tensor | undefined;
}

/**
 * A matrix `[rows, cols]` (out, in) on the GPU in one of the weight formats. Large tables are split into chunks of
 * rows; a trainable weight is f32 in one chunk whose tensor has a gradient.
 */
export interface Weight {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly format: WeightFormat;
  readonly chunks: readonly WeightChunk[];
}

/**
 * Low-rank terms added to a matrix: `y += Σ_s scale_s · B_s (A_s x)`, the sources side by side in `a` `[S·r, in]` and
 * `b` `[out, S·r]`; `scale` holds one f32 a source from `scaleOffset` on, so a slider only writes that buffer.
 */
export interface Adapter {
  readonly a: Weight;
  readonly b: Weight;
  readonly rank: number;
  readonly scale: Tensor;
  readonly scaleOffset: number;
}

/** A matrix with what is added to it while the model runs. */
export interface Matrix {
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  readonly adapter: Adapter | undefined;
  /** A dense delta `[out, in]`, for merges that are not linear in the factors. */
  readonly delta: Weight | undefined;
}

export function isTrainable(weight: Weight): boolean {
  return weight.chunks.some((chunk) => chunk.data.gradient !== undefined);
}

/** Elements of a value; the buffer of a small one is larger than they are. */
export function elementsOf({ shape }: Tensor): number {
  return shape.reduce((product, size) => product * size, 1);
}
