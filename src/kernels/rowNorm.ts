/**
 * What the norms over the last axis share: which threads have a row, and the gradient of their weight.
 *
 * `lanes` threads share a row. One is best on software adapters, where barriers are dear and loads are scalar; on a
 * GPU neighbouring lanes read neighbouring values and a tree in workgroup memory adds them up.
 */

import type { Tuning } from '../device/device.ts';
import {
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  LINEAR_GROUP,
  read,
  write,
} from '../device/kernel.ts';

/** Threads of a row: a power of two. */
export type Lanes = 1 | 16 | 64 | 256;

export function lanesOf(width: number, tuning: Tuning): Lanes {
  if (tuning !== 'gpu') return 1;
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

/** WGSL: which row and lane an invocation of `rowFrame` has; rows past the end have no width. */
export function rowPlace(lanes: Lanes): string {
  return `
  let row = linear_group(group) * ${rowFrame(lanes).rowsPerGroup}u + index / ${lanes}u;
  let lane = index % ${lanes}u;
  let valid = row < params.rows;
  let width = select(0u, params.width, valid);
  let base = row * params.width;`;
}

type PartialsKernel = Kernel<'x' | 'stats' | 'dy' | 'partials', 'rows' | 'width' | 'strip'>;

/**
 * Sums over a strip of rows: one thread a column, one workgroup a strip and 64 columns.
 * @param stats WGSL type of what the forward pass saved of a row
 * @param normed WGSL: what the weight was multiplied with, from `x[at]` and `stats[row]`
 */
export function weightPartialsKernel(name: string, stats: string, normed: string): PartialsKernel {
  return defineKernel({
    name,
    buffers: { x: read('f32'), stats: read(stats), dy: read('f32'), partials: write('f32') },
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
    sum += dy[at] * ${normed};
  }
  partials[group.y * params.width + column] = sum;
}`,
    wasm: {
      name: 'rowNormPartials',
      constants: [stats === 'f32' ? 0 : 1],
      pieces: (_, [columns, strips]) => columns * strips,
    },
  });
}

function weightSumKernel(accumulate: boolean) {
  return defineKernel({
    name: `rowNorm.weightSum${accumulate ? '.add' : ''}`,
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
    wasm: { name: 'rowNormSum', constants: [accumulate ? 1 : 0], pieces: (_, [columns]) => columns },
  });
}

const MAX_STRIPS = 256;

function stripsOf(rows: number): { strip: number; strips: number } {
  const strip = Math.max(8, Math.ceil(rows / MAX_STRIPS));
  return { strip, strips: Math.max(1, Math.ceil(rows / strip)) };
}

/** Bytes of the `scratch` buffer of `weightGradient`. */
export function normScratchBytes({ rows, width }: { readonly rows: number; readonly width: number }): number {
  return stripsOf(rows).strips * width * 4;
}

/**
 * dw [width] (= or +=), in two stages so that the order of the sum is fixed: strips of rows into `scratch`
 * (`normScratchBytes`), then the strips. Left out for a frozen norm.
 */
export function weightGradient<B>(
  kernel: PartialsKernel,
  { x, stats, dy, dw, scratch }: { x: B; stats: B; dy: B; dw: B; scratch: B },
  { rows, width }: { readonly rows: number; readonly width: number },
  accumulate: boolean,
): Dispatch<B>[] {
  const { strip, strips } = stripsOf(rows);
  const columns = Math.ceil(width / 64);
  return [
    dispatch(kernel, { x, stats, dy, partials: scratch }, { rows, width, strip }, [columns, strips, 1]),
    dispatch(weightSumKernel(accumulate), { partials: scratch, dw }, { strips, width }, [columns, 1, 1]),
  ];
}
