/**
 * The strategy for a few rows (decoding): bound by reading the weights once. `lanes` threads share `threadCols` rows
 * of the weights; neighbouring lanes read neighbouring chunks of up to 16 bytes, and their sums are added in a fixed
 * order through workgroup memory. NT only.
 */
import type { Body, Contraction } from './matmulKernel.ts';
import { range } from './matmulOperand.ts';

export interface VectorPlan {
  readonly kind: 'vector';
  /** Rows of x that a thread carries; at least M. */
  readonly threadRows: 1 | 2 | 4 | 8;
  /** Rows of the weights (columns of the output) that a thread carries. */
  readonly threadCols: number;
  /** Threads that share those rows, and how many such teams a workgroup has. */
  readonly lanes: number;
  readonly teams: number;
}

export function vectorBody({ left }: Contraction, plan: VectorPlan): Body {
  const { threadRows, threadCols, lanes, teams } = plan;
  const outputs = threadRows * threadCols;
  const pitch = lanes + 1;
  const rows = range(threadRows);
  const cols = range(threadCols);
  const quads = range(left.chunk / 4);
  const name = `vector${threadRows}x${threadCols}l${lanes}x${teams}`;
  const code = () => `
var<workgroup> partial: array<f32, ${outputs * pitch * teams}>;

@compute @workgroup_size(${lanes * teams})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let lane = index % ${lanes}u;
  let team = index / ${lanes}u;
  let first_i = group.y * ${threadRows}u;
  let first_j = (group.x * ${teams}u + team) * ${threadCols}u;
  ${rows.map((i) => `let left_start_${i} = left_row(min(first_i + ${i}u, params.i_count - 1u));`).join('\n  ')}
  ${cols.map((j) => `let right_start_${j} = right_row(min(first_j + ${j}u, params.j_count - 1u));`).join('\n  ')}
  ${rows.flatMap((i) => cols.map((j) => `var sum_${i}_${j} = 0.0;`)).join('\n  ')}
  for (var r = lane * ${left.chunk}u; r < params.r_count; r += ${lanes * left.chunk}u) {
    ${cols.map((j) => `let right_${j} = right_at(right_start_${j}, r);`).join('\n    ')}
    ${rows
      .map(
        (i) => `{ let left_all = left_at(left_start_${i}, r);
      ${cols.map((j) => `sum_${i}_${j} += ${quads.map((q) => `dot(left_all[${q}], right_${j}[${q}])`).join(' + ')};`).join('\n      ')} }`,
      )
      .join('\n    ')}
  }
  let base = team * ${outputs * pitch}u;
  ${rows.flatMap((i) => cols.map((j) => `partial[base + ${(i * threadCols + j) * pitch}u + lane] = sum_${i}_${j};`)).join('\n  ')}
  workgroupBarrier();
  for (var output = lane; output < ${outputs}u; output += ${lanes}u) {
    var sum = 0.0;
    for (var part = 0u; part < ${lanes}u; part++) { sum += partial[base + output * ${pitch}u + part]; }
    store1(first_i + output / ${threadCols}u, first_j + output % ${threadCols}u, sum);
  }
}`;
  return { name, code };
}

export function vectorGrid(plan: VectorPlan, rows: number, cols: number): readonly [number, number, number] {
  return [Math.ceil(cols / (plan.threadCols * plan.teams)), Math.ceil(rows / plan.threadRows), 1];
}
