/**
 * Root-mean-square norm (Zhang & Sennrich 2019, eq. 4), forward and backward:
 *   rstd[r] = 1 / sqrt(mean_j x[r, j]^2 + eps)
 *   y[r, j] = x[r, j] * rstd[r] * (w[j] + offset) (+ residual[r, j])
 * A per-head norm is the same kernel on the view [rows * heads, headDim]. `offset` is 1 where checkpoints store
 * w - 1 (Gemma), else 0. Rows and lanes are shared out as `rowNorm.ts` says.
 */

import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  linearGrid,
  read,
  write,
} from '../device/kernel.ts';
import { type Lanes, lanesOf, rowFrame, rowPlace, weightGradient, weightPartialsKernel } from './rowNorm.ts';

export interface RmsNormShape {
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
  readonly offset: 0 | 1;
}

function forwardKernel(lanes: Lanes, residual: boolean): Kernel {
  const { threads, wgsl } = rowFrame(lanes);
  const added: Record<string, BufferSpec> = residual ? { residual: read('f32') } : {};
  return defineKernel<string, string>({
    name: `rmsNorm.forward.${lanes}${residual ? '.residual' : ''}`,
    buffers: {
      x: read('f32'),
      w: read('f32'),
      ...added,
      y: write('f32'),
      rstd: write('f32'),
    },
    params: { rows: 'u32', width: 'u32', eps: 'f32', offset: 'f32' },
    code: `${wgsl}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {${rowPlace(lanes)}
  var squares = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { let v = x[base + j]; squares += v * v; }
  let scale = inverseSqrt(row_sum(squares, index) / f32(params.width) + params.eps);
  for (var j = lane; j < width; j += ${lanes}u) {
    y[base + j] = x[base + j] * scale * (w[j] + params.offset)${residual ? ' + residual[base + j]' : ''};
  }
  if (valid && lane == 0u) { rstd[row] = scale; }
}`,
    wasm: { name: 'rmsNormForward', constants: [residual ? 1 : 0], pieces: ({ rows = 0 }) => rows },
  });
}

function backwardKernel(lanes: Lanes, accumulate: boolean) {
  const { threads, wgsl } = rowFrame(lanes);
  return defineKernel({
    name: `rmsNorm.backward.${lanes}${accumulate ? '.add' : ''}`,
    buffers: { x: read('f32'), w: read('f32'), rstd: read('f32'), dy: read('f32'), dx: write('f32') },
    params: { rows: 'u32', width: 'u32', offset: 'f32' },
    code: `${wgsl}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {${rowPlace(lanes)}
  let scale = rstd[select(0u, row, valid)];
  var dot = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { dot += dy[base + j] * (w[j] + params.offset) * x[base + j]; }
  let pull = row_sum(dot, index) * scale * scale / f32(params.width);
  for (var j = lane; j < width; j += ${lanes}u) {
    dx[base + j] ${accumulate ? '+=' : '='} scale * (dy[base + j] * (w[j] + params.offset) - x[base + j] * pull);
  }
}`,
    wasm: { name: 'rmsNormBackward', constants: [accumulate ? 1 : 0], pieces: ({ rows }) => rows },
  });
}

const weightPartials = weightPartialsKernel('rmsNorm.weightPartials', 'f32', 'x[at] * stats[row]');

/** y [rows, width] and rstd [rows] from x [rows, width] and w [width]; with `residual` [rows, width] it is added to y. */
export function rmsNormForward<B>(
  buffers: { x: B; w: B; y: B; rstd: B; residual?: B },
  shape: RmsNormShape,
  tuning: Tuning,
): Dispatch<B> {
  const lanes = lanesOf(shape.width, tuning);
  const { x, w, y, rstd, residual } = buffers;
  return dispatch<string, string, B>(
    forwardKernel(lanes, residual !== undefined),
    residual === undefined ? { x, w, y, rstd } : { x, w, residual, y, rstd },
    { rows: shape.rows, width: shape.width, eps: shape.eps, offset: shape.offset },
    linearGrid(Math.ceil(shape.rows / rowFrame(lanes).rowsPerGroup)),
  );
}

/** dx [rows, width] (= or +=) from dy and what the forward pass saved. The gradient of `residual` is dy itself. */
export function rmsNormBackward<B>(
  { x, w, rstd, dy, dx }: { x: B; w: B; rstd: B; dy: B; dx: B },
  shape: Omit<RmsNormShape, 'eps'>,
  accumulate: boolean,
  tuning: Tuning,
): Dispatch<B> {
  const lanes = lanesOf(shape.width, tuning);
  return dispatch(
    backwardKernel(lanes, accumulate),
    { x, w, rstd, dy, dx },
    { rows: shape.rows, width: shape.width, offset: shape.offset },
    linearGrid(Math.ceil(shape.rows / rowFrame(lanes).rowsPerGroup)),
  );
}

/** dw [width] (= or +=); see `weightGradient`. */
export function rmsNormBackwardWeight<B>(
  { rstd, ...rest }: { x: B; rstd: B; dy: B; dw: B; scratch: B },
  shape: Pick<RmsNormShape, 'rows' | 'width'>,
  accumulate: boolean,
): Dispatch<B>[] {
  return weightGradient(weightPartials, { ...rest, stats: rstd }, shape, accumulate);
}
