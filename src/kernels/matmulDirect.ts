/**
 * The strategy for software adapters, whose cost is loads: every thread computes a large block of outputs in
 * registers straight from storage, without workgroup memory or barriers. The threads of a workgroup stand side by
 * side along j, so that they read the same left values.
 */
import { declareSums, eachSum, multiplyAdd } from './matmulFragment.ts';
import type { Body, Contraction } from './matmulKernel.ts';
import { type Operand, range } from './matmulOperand.ts';

export interface DirectPlan {
  readonly kind: 'direct';
  /** Outputs of a thread; columns are a multiple of 4, and so are rows in TN. */
  readonly threadRows: number;
  readonly threadCols: number;
  /** Threads of a workgroup, along j. */
  readonly threads: number;
}

export function directBody(contraction: Contraction, plan: DirectPlan): Body {
  const { left, right } = contraction;
  const { threadRows, threadCols, threads } = plan;
  const name = `direct${threadRows}x${threadCols}w${threads}`;
  const step = left.contiguous === 'reduction' ? left.chunk : 1;
  const code = `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first_i = group.y * ${threadRows}u;
  let first_j = (group.x * ${threads}u + lane) * ${threadCols}u;
  if (first_j >= params.j_count) { return; }
  ${rowStarts(left, threadRows, 'i')}
  ${rowStarts(right, threadCols, 'j')}
  ${declareSums(threadRows, threadCols)}
  for (var r = 0u; r < params.r_count; r += ${step}u) {
    ${step === 1 ? freeStep(contraction, plan) : chunkStep(contraction, plan)}
  }
  ${storeRows(plan)}
}`;
  return { name, code };
}

export function directGrid(plan: DirectPlan, rows: number, cols: number): readonly [number, number, number] {
  return [Math.ceil(cols / (plan.threadCols * plan.threads)), Math.ceil(rows / plan.threadRows), 1];
}

/** Where the rows of an operand that is contiguous along the reduction start: they do not change with r. */
function rowStarts({ side, contiguous }: Operand, count: number, free: 'i' | 'j'): string {
  if (contiguous === 'free') return '';
  return range(count)
    .map(
      (n) => `let ${side}_start_${n} = ${side}_row(min(first_${free} + ${n}u, params.${free}_count - 1u));`,
    )
    .join('\n  ');
}

/** TN: one step of the reduction; both operands give values that lie side by side. */
function freeStep({ left, right }: Contraction, { threadRows, threadCols }: DirectPlan): string {
  return `${freeFragments(left, threadRows, 'r', 0, 'i')}
    ${freeFragments(right, threadCols, 'r', 0, 'j')}
    ${multiplyAdd(range(threadRows), threadCols, 'free', 'free', 1)}`;
}

/** NT and NN: one chunk of the reduction, a few rows of the left operand at a time. */
function chunkStep({ left, right }: Contraction, { threadRows, threadCols }: DirectPlan): string {
  const quads = range(left.chunk / 4);
  const load = range(threadCols).map((n) => `let right_all_${n} = right_at(right_start_${n}, r);`);
  const loadLeft = range(threadRows).map((n) => `let left_all_${n} = left_at(left_start_${n}, r);`);
  const blocks = quads.map((q) => {
    const rightPart =
      right.contiguous === 'reduction'
        ? range(threadCols)
            .map((n) => `let right_${n} = right_all_${n}[${q}];`)
            .join('\n')
        : range(4)
            .map((c) =>
              freeFragments(right, threadCols, `min(r + ${4 * q + c}u, params.r_count - 1u)`, c, 'j'),
            )
            .join('\n');
    const leftPart = range(threadRows)
      .map((n) => `let left_${n} = left_all_${n}[${q}];`)
      .join('\n');
    return `{ ${rightPart}\n${leftPart}\n${multiplyAdd(range(threadRows), threadCols, 'reduction', right.contiguous)} }`;
  });
  return [...(right.contiguous === 'reduction' ? load : []), ...loadLeft, ...blocks].join('\n');
}

/** Loads `<side>_<name>_<quad>` for all quads of one row in memory. */
function freeFragments(operand: Operand, count: number, row: string, name: number, free: 'i' | 'j'): string {
  const { side, chunk } = operand;
  const loads = range(Math.ceil(count / chunk)).map((part) => {
    const all = `${side}_all_${name}_${part}`;
    const quads = range(Math.min(chunk, count) / 4).map(
      (q) => `let ${side}_${name}_${(part * chunk) / 4 + q} = ${all}[${q}];`,
    );
    return `let ${all} = ${side}_at(${side}_row(${row}), first_${free} + ${part * chunk}u);\n${quads.join('\n')}`;
  });
  return loads.join('\n');
}

/** Stores row by row and stops at the last one. */
function storeRows({ threadRows, threadCols }: DirectPlan): string {
  return eachSum(
    threadRows,
    threadCols,
    (name, row, quad) => `store4(first_i + ${row}u, first_j + ${4 * quad}u, ${name});`,
  );
}
