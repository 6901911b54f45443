/**
 * The strategy for real GPUs: a workgroup computes a tile of the output from tiles of both operands in workgroup
 * memory, each thread a small block of it in registers.
 *
 * Workgroup memory holds each operand as vec4s in the order in which it lies in storage: [row][r / 4] where it is
 * contiguous along the reduction, [r][free / 4] where it is not. In the first form neighbouring threads read
 * neighbouring rows, which would fall on the same banks; the quads of a row are therefore permuted by an exclusive
 * or with bits of the row number (`swizzle`), which costs no memory.
 *
 * With `slices` > 1 groups of threads compute the same outputs from different parts of the reduction and add their
 * sums in a fixed order at the end, so that few outputs with a long reduction still keep many threads busy.
 */
import { declareSums, eachSum, multiplyAdd, storeLoop } from './matmulFragment.ts';
import type { Body, Contraction } from './matmulKernel.ts';
import { type Operand, range } from './matmulOperand.ts';

export interface TiledPlan {
  readonly kind: 'tiled';
  /** Outputs of a workgroup. The side of an operand contiguous along the reduction needs a multiple of 8 threads. */
  readonly tileRows: number;
  readonly tileCols: number;
  /** Steps of the reduction in workgroup memory at a time. */
  readonly depth: 8 | 16 | 32;
  /** Outputs of a thread; multiples of 4. */
  readonly threadRows: 4 | 8;
  readonly threadCols: 4 | 8;
  readonly slices: 1 | 2 | 4 | 8 | 16;
}

/** Threads along rows and columns of the tile. */
function threadsOf(plan: TiledPlan): { down: number; across: number; slice: number; all: number } {
  const down = plan.tileRows / plan.threadRows;
  const across = plan.tileCols / plan.threadCols;
  return { down, across, slice: down * across, all: down * across * plan.slices };
}

export function tiledBody(contraction: Contraction, plan: TiledPlan): Body {
  const { left, right } = contraction;
  const { tileRows, tileCols, depth, threadRows, threadCols, slices } = plan;
  const threads = threadsOf(plan);
  const leftView = tileView(left, tileRows, depth, threads.down, 'down');
  const rightView = tileView(right, tileCols, depth, threads.across, 'across');
  const name = `tiled${tileRows}x${tileCols}x${depth}t${threadRows}x${threadCols}${slices > 1 ? `s${slices}` : ''}`;
  const code = () => `
var<workgroup> left_tile: array<vec4<f32>, ${(tileRows * depth * slices) / 4}>;
var<workgroup> right_tile: array<vec4<f32>, ${(tileCols * depth * slices) / 4}>;

@compute @workgroup_size(${threads.all})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first_i = group.y * ${tileRows}u;
  let first_j = group.x * ${tileCols}u;
  let slice = lane / ${threads.slice}u;
  let worker = lane % ${threads.slice}u;
  let across = worker % ${threads.across}u;
  let down = worker / ${threads.across}u;
  ${leftView.prologue}
  ${rightView.prologue}
  ${declareSums(threadRows, threadCols)}
  for (var block = 0u; block < params.r_count; block += ${depth * slices}u) {
    let first_r = block + slice * ${depth}u;
    ${fillTile(left, tileRows, depth, threads.slice, 'i')}
    ${fillTile(right, tileCols, depth, threads.slice, 'j')}
    workgroupBarrier();
    for (var quad = 0u; quad < ${depth / 4}u; quad++) {
      ${leftView.fragments(threadRows)}
      ${rightView.fragments(threadCols)}
      ${multiplyAdd(threadRows, threadCols, left.contiguous, right.contiguous)}
    }
    workgroupBarrier();
  }
  ${addSlices(plan, threads.slice)}
  ${storeSums(contraction, plan, threads)}
}`;
  return { name, code };
}

export function tiledGrid(plan: TiledPlan, rows: number, cols: number): readonly [number, number, number] {
  return [Math.ceil(cols / plan.tileCols), Math.ceil(rows / plan.tileRows), 1];
}

/** Bits of the row number that permute its quads: eight rows in turn must meet eight different groups of banks. */
function swizzle(row: string, quads: number): string {
  return `(((${row}) / ${Math.max(1, 8 / quads)}u) % ${quads}u)`;
}

/** How a thread reads its fragments of one operand from workgroup memory. */
function tileView(operand: Operand, extent: number, depth: number, lanes: number, lane: string) {
  const { side, contiguous } = operand;
  const quads = depth / 4;
  if (contiguous === 'reduction') {
    return {
      prologue: `let ${side}_base = slice * ${extent * quads}u + ${lane} * ${quads}u;
  let ${side}_key = ${swizzle(lane, quads)};`,
      fragments: (count: number) =>
        range(count)
          .map(
            (n) =>
              `let ${side}_${n} = ${side}_tile[${side}_base + ${n * lanes * quads}u + (quad ^ ${side}_key)];`,
          )
          .join('\n'),
    };
  }
  const row = extent / 4;
  return {
    prologue: `let ${side}_base = slice * ${row * depth}u + ${lane};`,
    fragments: (count: number) =>
      range(4)
        .flatMap((r) =>
          range(count / 4).map(
            (n) =>
              `let ${side}_${r}_${n} = ${side}_tile[${side}_base + (quad * 4u + ${r}u) * ${row}u + ${n * lanes}u];`,
          ),
        )
        .join('\n'),
  };
}

/** Copies (and decodes) one tile of an operand: every thread of a slice takes its share of the chunks. */
function fillTile(operand: Operand, extent: number, depth: number, threads: number, free: 'i' | 'j'): string {
  const { side, contiguous, chunk } = operand;
  const along = contiguous === 'reduction';
  const [rows, chunks] = along ? [extent, depth / chunk] : [depth, extent / chunk];
  const quads = along ? depth / 4 : extent / 4;
  const memoryRow = along ? `min(first_${free} + row, params.${free}_count - 1u)` : 'first_r + row';
  const col = along ? 'first_r + chunk' : `first_${free} + chunk`;
  const inside = along ? 'col < params.r_count' : 'memory_row < params.r_count';
  const key = along ? ` ^ ${swizzle('row', quads)}` : '';
  const tasks = rows * chunks;
  return range(Math.ceil(tasks / threads))
    .map((turn) => {
      const partial = (turn + 1) * threads > tasks;
      return `${partial ? `if (worker + ${turn * threads}u < ${tasks}u)` : ''} {
      let task = worker + ${turn * threads}u;
      let row = task / ${chunks}u;
      let chunk = (task % ${chunks}u) * ${chunk}u;
      let memory_row = ${memoryRow};
      let col = ${col};
      // Written out: Dawn zeroes a variable without an initializer once, not in every turn of the loop.
      var values = array<vec4<f32>, ${chunk / 4}>();
      if (${inside}) { values = ${side}_at(${side}_row(memory_row), col); }
      let to = slice * ${rows * quads}u + row * ${quads}u;
      ${range(chunk / 4)
        .map((q) => `${side}_tile[to + ((chunk / 4u + ${q}u)${key})] = values[${q}];`)
        .join('\n      ')}
    }`;
    })
    .join('\n');
}

/** Adds the sums of all slices into those of slice 0, in order, through the left tile. */
function addSlices({ threadRows, threadCols, slices }: TiledPlan, threads: number): string {
  if (slices === 1) return '';
  const place = (row: number, quad: number) =>
    `left_tile[${(row * (threadCols / 4) + quad) * threads}u + worker]`;
  return `for (var part = 1u; part < ${slices}u; part++) {
    if (slice == part) { ${eachSum(threadRows, threadCols, (name, row, quad) => `${place(row, quad)} = ${name};`)} }
    workgroupBarrier();
    if (slice == 0u) { ${eachSum(threadRows, threadCols, (name, row, quad) => `${name} += ${place(row, quad)};`)} }
    workgroupBarrier();
  }
  if (slice != 0u) { return; }`;
}

/** Fragment n of a thread lies n * lanes further: single rows (reduction) or quads of rows (free). */
function storeSums(
  { left, right }: Contraction,
  { threadRows, threadCols }: TiledPlan,
  { down, across }: { down: number; across: number },
): string {
  const i =
    left.contiguous === 'reduction'
      ? `first_i + down + row * ${down}u`
      : `first_i + (down + (row / 4u) * ${down}u) * 4u + row % 4u`;
  const j = (c: number) => `first_j + across + (4u * quad + ${c}u) * ${across}u`;
  return storeLoop(
    threadRows,
    threadCols,
    right.contiguous === 'free'
      ? `store4(${i}, first_j + (across + quad * ${across}u) * 4u, value);`
      : range(4)
          .map((c) => `store1(${i}, ${j(c)}, value.${'xyzw'[c]});`)
          .join(' '),
  );
}
