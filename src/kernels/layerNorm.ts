/**
 * Layer norm (Ba et al. 2016, eq. 4) over the last axis, forward and backward:
 *   mean[r] = mean_j x[r, j],  rstd[r] = 1 / sqrt(mean_j (x[r, j] - mean[r])^2 + eps)
 *   y[r, j] = (x[r, j] - mean[r]) * rstd[r] * w[j] (+ b[j]) (+ residual[r, j])
 * The variance is summed over the differences in a second pass: the mean of the squares less the square of the mean would
 * lose its digits where a row lies far from 0. Rows and lanes are shared out as `rowNorm.ts` says.
 */

import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  linearGrid,
  read,
  write,
} from '../device/kernel.ts';
import { type Lanes, lanesOf, rowFrame, rowPlace, weightGradient, weightPartialsKernel } from './rowNorm.ts';

export interface LayerNormShape {
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
}

/** WGSL: `row_total`, a row sum that may be called again; neighbours must have read the last one first. */
function frame(lanes: Lanes): { threads: number; wgsl: string } {
  const { threads, wgsl } = rowFrame(lanes);
  const wait = lanes === 1 ? '' : 'workgroupBarrier(); ';
  const again = `fn row_total(value: f32, index: u32) -> f32 { ${wait}return row_sum(value, index); }`;
  return { threads, wgsl: `${wgsl}\n${again}` };
}

function forwardKernel(lanes: Lanes, bias: boolean, residual: boolean) {
  const { threads, wgsl } = frame(lanes);
  const added: Record<string, BufferSpec> = {
    ...(bias && { b: read('f32') }),
    ...(residual && { residual: read('f32') }),
  };
  return defineKernel<string, string>({
    name: `layerNorm.forward.${lanes}${bias ? '.bias' : ''}${residual ? '.residual' : ''}`,
    buffers: { x: read('f32'), w: read('f32'), ...added, y: write('f32'), stats: write('vec2<f32>') },
    params: { rows: 'u32', width: 'u32', eps: 'f32' },
    code: `${wgsl}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {${rowPlace(lanes)}
  var sum = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { sum += x[base + j]; }
  let mean = row_total(sum, index) / f32(params.width);
  var squares = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { let d = x[base + j] - mean; squares += d * d; }
  let scale = inverseSqrt(row_total(squares, index) / f32(params.width) + params.eps);
  for (var j = lane; j < width; j += ${lanes}u) {
    y[base + j] = (x[base + j] - mean) * scale * w[j]${bias ? ' + b[j]' : ''}${residual ? ' + residual[base + j]' : ''};
  }
  if (valid && lane == 0u) { stats[row] = vec2<f32>(mean, scale); }
}`,
    wasm: {
      name: 'layerNormForward',
      constants: [bias ? 1 : 0, residual ? 1 : 0],
      pieces: ({ rows = 0 }) => rows,
    },
  });
}

function backwardKernel(lanes: Lanes, accumulate: boolean) {
  const { threads, wgsl } = frame(lanes);
  return defineKernel({
    name: `layerNorm.backward.${lanes}${accumulate ? '.add' : ''}`,
    buffers: { x: read('f32'), w: read('f32'), stats: read('vec2<f32>'), dy: read('f32'), dx: write('f32') },
    params: { rows: 'u32', width: 'u32' },
    code: `${wgsl}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {${rowPlace(lanes)}
  let saved = stats[select(0u, row, valid)];
  var sum = 0.0;
  var dot = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) {
    let g = dy[base + j] * w[j];
    sum += g;
    dot += g * (x[base + j] - saved.x);
  }
  let mean = row_total(sum, index) / f32(params.width);
  let pull = row_total(dot, index) * saved.y * saved.y / f32(params.width);
  for (var j = lane; j < width; j += ${lanes}u) {
    let g = dy[base + j] * w[j];
    dx[base + j] ${accumulate ? '+=' : '='} saved.y * (g - mean - (x[base + j] - saved.x) * pull);
  }
}`,
    wasm: { name: 'layerNormBackward', constants: [accumulate ? 1 : 0], pieces: ({ rows }) => rows },
  });
}

const weightPartials = weightPartialsKernel(
  'layerNorm.weightPartials',
  'vec2<f32>',
  '(x[at] - stats[row].x) * stats[row].y',
);

/** y [rows, width] and stats [rows, 2] (mean, rstd) from x, w [width] and, if given, b [width] and residual. */
export function layerNormForward<B>(
  { x, w, b, y, stats, residual }: { x: B; w: B; b?: B; y: B; stats: B; residual?: B },
  { rows, width, eps }: LayerNormShape,
  tuning: Tuning,
): Dispatch<B> {
  const lanes = lanesOf(width, tuning);
  const added: Record<string, B> = {
    ...(b !== undefined && { b }),
    ...(residual !== undefined && { residual }),
  };
  return dispatch<string, string, B>(
    forwardKernel(lanes, b !== undefined, residual !== undefined),
    { x, w, ...added, y, stats },
    { rows, width, eps },
    linearGrid(Math.ceil(rows / rowFrame(lanes).rowsPerGroup)),
  );
}

/** dx [rows, width] (= or +=) from dy and what the forward pass saved. The gradient of `residual` is dy itself. */
export function layerNormBackward<B>(
  { x, w, stats, dy, dx }: { x: B; w: B; stats: B; dy: B; dx: B },
  { rows, width }: Pick<LayerNormShape, 'rows' | 'width'>,
  accumulate: boolean,
  tuning: Tuning,
): Dispatch<B> {
  const lanes = lanesOf(width, tuning);
  const grid = linearGrid(Math.ceil(rows / rowFrame(lanes).rowsPerGroup));
  return dispatch(backwardKernel(lanes, accumulate), { x, w, stats, dy, dx }, { rows, width }, grid);
}

/** dw [width] (= or +=); see `weightGradient`. The gradient of the bias is a column sum of dy (`columnSums`). */
export function layerNormBackwardWeight<B>(
  buffers: { x: B; stats: B; dy: B; dw: B; scratch: B },
  shape: Pick<LayerNormShape, 'rows' | 'width'>,
  accumulate: boolean,
): Dispatch<B>[] {
  return weightGradient(weightPartials, buffers, shape, accumulate);
}
