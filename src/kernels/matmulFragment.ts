/**
 * Register code shared by the tiled and the direct strategy: a thread holds `rows` x `cols` sums as vec4s along j,
 * named `sum_<row>_<quad>`, and adds four steps of the reduction at a time from fragments of both operands.
 *
 * A fragment is named as it lies in memory. Contiguous along the reduction: `<side>_<index>`, a vec4 of four r.
 * Contiguous along the free index: `<side>_<r>_<quad>`, a vec4 of four indices. Rearranging vec4s in registers costs
 * nothing on scalar hardware, so all products end in the same multiply-adds.
 */
import { type Axis, range } from './matmulOperand.ts';

const XYZW = 'xyzw';

export function declareSums(rows: number, cols: number): string {
  return eachSum(rows, cols, (name) => `var ${name} = vec4<f32>();`);
}

/** One statement for every vec4 of sums: `write(name, row, quad)`. */
export function eachSum(
  rows: number,
  cols: number,
  write: (name: string, row: number, quad: number) => string,
): string {
  return range(rows)
    .flatMap((row) => range(cols / 4).map((quad) => write(`sum_${row}_${quad}`, row, quad)))
    .join('\n');
}

/**
 * Statements that add four steps of the reduction to all sums. The four of one sum follow each other: where registers
 * do not hold all sums, each is then read and written back once (1.3 times faster on lavapipe).
 */
export function multiplyAdd(rows: number, cols: number, leftAxis: Axis, rightAxis: Axis): string {
  const left = (row: number, r: number) =>
    leftAxis === 'reduction' ? `left_${row}.${XYZW[r]}` : `left_${r}_${row >> 2}.${XYZW[row & 3]}`;
  const right = (quad: number, r: number) =>
    rightAxis === 'reduction'
      ? `vec4<f32>(${range(4).map((c) => `right_${4 * quad + c}.${XYZW[r]}`)})`
      : `right_${r}_${quad}`;
  return eachSum(rows, cols, (sum, row, quad) =>
    range(4)
      .map((r) => `${sum} += ${left(row, r)} * ${right(quad, r)};`)
      .join(' '),
  );
}

/**
 * Runs `store` for every `row` and `quad` with its `value`, in a loop over a copy of the sums, because software
 * adapters take seconds to compile as many guarded stores in a row. GPU compilers unroll it. `rowCount` is a WGSL
 * expression that keeps the others from doing so.
 */
export function storeLoop(rows: number, cols: number, store: string, rowCount = `${rows}u`): string {
  const quads = cols / 4;
  return `var sums: array<vec4<f32>, ${rows * quads}>;
  ${eachSum(rows, cols, (name, row, quad) => `sums[${row * quads + quad}] = ${name};`)}
  let stores = ${rowCount} * ${quads}u;
  for (var index = 0u; index < stores; index++) {
    let row = index / ${quads}u;
    let quad = index % ${quads}u;
    let value = sums[index];
    ${store}
  }`;
}
