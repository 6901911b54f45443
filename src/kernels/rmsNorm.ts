/**
 * Root-mean-square norm (Zhang & Sennrich 2019, eq. 4), forward and backward:
 *   rstd[r] = 1 / sqrt(mean_j x[r, j]^2 + eps)
 *   y[r, j] = x[r, j] * rstd[r] * (w[j] + offset) (+ residual[r, j])
 * A per-head norm is the same kernel on the view [rows * heads, headDim]. `offset` is 1 where checkpoints store
 * w - 1 (Gemma), else 0.
 *
 * `lanes` threads share a row. One is best on software adapters, where barriers are dear and loads are scalar; on a
 * GPU neighbouring lanes read neighbouring values and a tree in workgroup memory adds them up.
 */
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../gpu/kernel.ts';
import type { Tuning } from './matmul.ts';

export interface RmsNormShape {
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
  readonly offset: 0 | 1;
}

/** Threads of a row: a power of two. */
export type Lanes = 1 | 16 | 64 | 256;

export function lanesOf(width: number, tuning: Tuning): Lanes {
  if (tuning === 'software') return 1;
  if (width <= 128) return 16;
  return width <= 1024 ? 64 : 256;
}

/** Row, lane and workgroup shape shared by the kernels that give `lanes` threads to a row. */
export function rowFrame(lanes: Lanes): { threads: number; rowsPerGroup: number; wgsl: string } {
  const threads = Math.max(64, lanes);
  const rowsPerGroup = threads / lanes;
  const reduce =
    lanes === 1
      ? 'fn row_sum(value: f32, index: u32) -> f32 { return value; }'
      : `var<workgroup> partial: array<f32, ${threads}>;
fn row_sum(value: f32, index: u32) -> f32 {
  partial[index] = value;
  for (var step = ${lanes / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (index % ${lanes}u < step) { partial[index] += partial[index + step]; }
  }
  workgroupBarrier();
  return partial[index - index % ${lanes}u];
}`;
  return { threads, rowsPerGroup, wgsl: `${LINEAR_GROUP}\n${reduce}` };
}

function forwardKernel(lanes: Lanes, residual: boolean): Kernel {
  const { threads, rowsPerGroup, wgsl } = rowFrame(lanes);
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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = linear_group(group) * ${rowsPerGroup}u + index / ${lanes}u;
  let lane = index % ${lanes}u;
  let valid = row < params.rows;
  let width = select(0u, params.width, valid);
  let base = row * params.width;
  var squares = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { let v = x[base + j]; squares += v * v; }
  let scale = inverseSqrt(row_sum(squares, index) / f32(params.width) + params.eps);
  for (var j = lane; j < width; j += ${lanes}u) {
    y[base + j] = x[base + j] * scale * (w[j] + params.offset)${residual ? ' + residual[base + j]' : ''};
  }
  if (valid && lane == 0u) { rstd[row] = scale; }
}`,
  });
}

function backwardKernel(lanes: Lanes, accumulate: boolean) {
  const { threads, rowsPerGroup, wgsl } = rowFrame(lanes);
  return defineKernel({
    name: `rmsNorm.backward.${lanes}${accumulate ? '.add' : ''}`,
    buffers: { x: read('f32'), w: read('f32'), rstd: read('f32'), dy: read('f32'), dx: write('f32') },
    params: { rows: 'u32', width: 'u32', offset: 'f32' },
    code: `${wgsl}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = linear_group(group) * ${rowsPerGroup}u + index / ${lanes}u;
  let lane = index % ${lanes}u;
  let valid = row < params.rows;
  let width = select(0u, params.width, valid);
  let base = row * params.width;
  let scale = rstd[select(0u, row, valid)];
  var dot = 0.0;
  for (var j = lane; j < width; j += ${lanes}u) { dot += dy[base + j] * (w[j] + params.offset) * x[base + j]; }
  let pull = row_sum(dot, index) * scale * scale / f32(params.width);
  for (var j = lane; j < width; j += ${lanes}u) {
    dx[base + j] ${accumulate ? '+=' : '='} scale * (dy[base + j] * (w[j] + params.offset) - x[base + j] * pull);
  }
}`,
  });
}

/** Sums of dy * x * rstd over a strip of rows: one thread a column, one workgroup a strip and 64 columns. */
const weightPartials = defineKernel({
  name: 'rmsNorm.weightPartials',
  buffers: { x: read('f32'), rstd: read('f32'), dy: read('f32'), partials: write('f32') },
  params: { rows: 'u32', width: 'u32', strip: 'u32' },
  code: `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let column = group.x * 64u + index;
  if (column >= params.width) { return; }
  let end = min((group.y + 1u) * params.strip, params.rows);
  var sum = 0.0;
  for (var row = group.y * params.strip; row < end; row++) {
    let at = row * params.width + column;
    sum += dy[at] * x[at] * rstd[row];
  }
  partials[group.y * params.width + column] = sum;
}`,
});

export function weightSumKernel(accumulate: boolean) {
  return defineKernel({
    name: `rmsNorm.weightSum${accumulate ? '.add' : ''}`,
    buffers: { partials: read('f32'), dw: write('f32') },
    params: { strips: 'u32', width: 'u32' },
    code: `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.width) { return; }
  var sum = 0.0;
  for (var strip = 0u; strip < params.strips; strip++) { sum += partials[strip * params.width + id.x]; }
  dw[id.x] ${accumulate ? '+=' : '='} sum;
}`,
  });
}

const MAX_STRIPS = 256;

export function stripsOf(rows: number): { strip: number; strips: number } {
  const strip = Math.max(8, Math.ceil(rows / MAX_STRIPS));
  return { strip, strips: Math.max(1, Math.ceil(rows / strip)) };
}

/** Bytes of the `scratch` buffer of `rmsNormBackwardWeight`. */
export function rmsNormScratchBytes(shape: Pick<RmsNormShape, 'rows' | 'width'>): number {
  return stripsOf(shape.rows).strips * shape.width * 4;
}

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

/**
 * dw [width] (= or +=), in two stages so that the order of the sum is fixed: strips of rows into `scratch`
 * (`rmsNormScratchBytes`), then the strips. Left out for a frozen norm.
 */
export function rmsNormBackwardWeight<B>(
  { x, rstd, dy, dw, scratch }: { x: B; rstd: B; dy: B; dw: B; scratch: B },
  { rows, width }: Pick<RmsNormShape, 'rows' | 'width'>,
  accumulate: boolean,
): Dispatch<B>[] {
  const { strip, strips } = stripsOf(rows);
  const columns = Math.ceil(width / 64);
  return [
    dispatch(weightPartials, { x, rstd, dy, partials: scratch }, { rows, width, strip }, [
      columns,
      strips,
      1,
    ]),
    dispatch(weightSumKernel(accumulate), { partials: scratch, dw }, { strips, width }, [columns, 1, 1]),
  ];
}
