/** The loops of `rowProducts.ts`. */
import type { Tuning } from '../device/device.ts';
import { range } from './matmulOperand.ts';
import type { KernelShape } from './rowProducts.ts';

/** How threads share the work. */
export interface RowFrame {
  readonly name: string;
  readonly tuning: Tuning;
  /** Rows and columns of outputs of a thread or team. */
  readonly rows: number;
  readonly cols: number;
  /** GPU: threads that share the reduction, and teams of a workgroup. */
  readonly lanes: number;
  readonly teams: number;
  /** Columns of a workgroup. */
  readonly columns: number;
  /** Software: the lanes of a quad read x for each other. */
  readonly share: boolean;
}

/** Workgroups that keep a large GPU busy: with fewer a thread takes fewer columns, though it reads x more often for each. */
const ENOUGH_GROUPS = 512;
const [LANES, TEAMS] = [32, 4];

/** @param columns of all matrices together, a gated pair counted once */
export function rowFrame(tuning: Tuning, m: number, columns: number, gated: boolean): RowFrame {
  const rows = m <= 1 ? 1 : 2;
  if (tuning !== 'gpu') {
    const cols = gated ? 1 : 2;
    return {
      name: `lane${rows}x${cols}`,
      tuning,
      rows,
      cols,
      lanes: 1,
      teams: 8,
      columns: 8 * cols,
      share: true,
    };
  }
  const cols = ([4, 2] as const).find((each) => columns >= each * TEAMS * ENOUGH_GROUPS) ?? 1;
  return {
    name: `team${rows}x${cols}`,
    tuning,
    rows,
    cols,
    lanes: LANES,
    teams: TEAMS,
    columns: cols * TEAMS,
    share: false,
  };
}

/** The entry point and what it calls. */
export function rowBody(shape: KernelShape, frame: RowFrame): string {
  return frame.tuning === 'gpu' ? teamBody(shape, frame) : laneBody(shape, frame);
}

interface Sum {
  readonly name: string;
  readonly row: number;
  /** Matrix and which of the thread's columns. */
  readonly part: number;
  readonly col: number;
}

/** The sums of a thread; of a gated pair those of both matrices. */
function sumsOf({ gate }: KernelShape, { rows, cols }: RowFrame, p = 0): Sum[] {
  return (gate ? [0, 1] : [p]).flatMap((part) =>
    range(rows).flatMap((row) =>
      range(cols).map((col) => ({ name: `sum${part}_${row}_${col}`, row, part, col })),
    ),
  );
}

/** WGSL: 1 / rms of the row, by all threads of the workgroup. */
function normScale({ left }: KernelShape, threads: number): string {
  const quads = range(left.chunk / 4);
  return `
var<workgroup> squares: array<f32, ${threads}>;
fn norm_scale(lane: u32) -> f32 {
  let start = left_row(0u);
  var sum = 0.0;
  for (var r = lane * ${left.chunk}u; r < params.r_count; r += ${threads * left.chunk}u) {
    let x = left_at(start, r);
    sum += ${quads.map((q) => `dot(x[${q}], x[${q}])`).join(' + ')};
  }
  squares[lane] = sum;
  for (var step = ${threads / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) { squares[lane] += squares[lane + step]; }
  }
  workgroupBarrier();
  return inverseSqrt(squares[0] / f32(params.r_count) + params.eps);
}`;
}

/** WGSL: where the rows of the weights start that a thread reads; all matrices have rows of one length. */
function starts(sums: readonly Sum[]): string {
  return sums
    .filter(({ row }) => row === 0)
    .map(({ part, col }) => `let start${part}_${col} = right0_row(min(first_j + ${col}u, j_count - 1u));`)
    .join('\n  ');
}

/** Whether a chunk of weights is multiplied as codes, with one scale and minimum. */
function usesCodes({ right }: KernelShape): boolean {
  return right.format.kind === 'affine' && right.chunk <= right.format.group;
}

/** How one chunk of a matrix is read: values or codes, and the pair of the codes. */
interface Reads {
  readonly values: (part: number, start: string) => string;
  readonly pair: (part: number, start: string) => string;
}

/** WGSL: adds what one chunk of x (`x_<row>`, vec4s) gives to the sums. */
function addChunk(
  shape: KernelShape,
  sums: readonly Sum[],
  x: (row: number, q: number) => string,
  { values, pair }: Reads,
): string {
  const quads = range(shape.right.chunk / 4);
  const rows = [...new Set(sums.map(({ row }) => row))];
  const product = (row: number) => quads.map((q) => `dot(${x(row, q)}, w[${q}])`).join(' + ');
  const adds = sums
    .filter(({ row }) => row === 0)
    .map(({ part, col }) => {
      const start = `start${part}_${col}`;
      const mine = sums.filter((sum) => sum.part === part && sum.col === col);
      if (!usesCodes(shape)) {
        const lines = mine.map(({ name, row }) => `${name} += ${product(row)};`);
        return `{ let w = ${values(part, start)}; ${lines.join(' ')} }`;
      }
      const lines = mine.map(
        ({ name, row }) => `${name} += pair.x * (${product(row)}) + pair.y * total_${row};`,
      );
      return `{ let w = ${values(part, start)}; let pair = ${pair(part, start)}; ${lines.join(' ')} }`;
    });
  const totals = rows.map(
    (row) => `let total_${row} = dot(${quads.map((q) => x(row, q)).join(' + ')}, vec4<f32>(1.0));`,
  );
  return [...(usesCodes(shape) ? totals : []), ...adds].join('\n    ');
}

/** WGSL: one output from its sum or, gated, its two. */
function store({ bias, residual, gate }: KernelShape, p: number, sum: (part: number) => string): string {
  const at = `i * params.j_count${p} + j`;
  const value = (part: number) => `${sum(part)}${bias ? ` + bias${part}[j]` : ''}`;
  if (gate) return `{ let z = ${value(0)}; out0[${at}] = z * gate(z) * (${value(1)}); }`;
  return `out${p}[${at}] = ${value(p)}${residual ? ` + residual[${at}]` : ''};`;
}

/** WGSL: `cases(0)` where the workgroup's matrix is the first, and so on; nothing to choose from one. */
function byPart(parts: number, cases: (p: number) => string): string {
  return range(parts)
    .map((p) => (p === parts - 1 ? `{ ${cases(p)} }` : `if (part == ${p}u) { ${cases(p)} }`))
    .join(' else ');
}

/** Matrices that workgroups choose from; a gated pair goes together. */
function choices({ gate, parts }: KernelShape): number {
  return gate ? 1 : parts;
}

/** WGSL: `part`, the matrix of the workgroup, `place` among its workgroups, and `j_count`, its rows. */
function findPart(shape: KernelShape): string {
  const count = choices(shape);
  if (count === 1) return 'let part = 0u; let place = group.x; let j_count = params.j_count0;';
  const second = count === 3 ? 'select(2u, 1u, group.x < params.end1)' : '1u';
  return `let part = select(${second}, 0u, group.x < params.end0);
  let place = group.x - select(0u, select(params.end0, params.end1, part == 2u), part > 0u);
  let j_count = select(select(params.j_count0, params.j_count1, part == 1u), params.j_count2, part == 2u);`;
}

/** GPUs: the lanes of a team share the reduction, and their sums meet in workgroup memory in a fixed order. */
function teamBody(shape: KernelShape, frame: RowFrame): string {
  const { rows, cols, lanes, teams } = frame;
  const { left, norm, gate, right } = shape;
  const count = choices(shape);
  const sums = sumsOf(shape, frame);
  const x = (row: number, q: number) => `x_${row}[${q}]`;
  const loads = range(rows).flatMap((row) => [
    `var x_${row} = left_at(left_start_${row}, r);`,
    ...(norm ? range(left.chunk / 4).map((q) => `${x(row, q)} *= norm4(r + ${4 * q}u);`) : []),
  ]);
  const read = `right_${usesCodes(shape) ? 'codes_' : ''}at(start, r)`;
  const readers = `fn weights_at(part: u32, start: vec2<u32>, r: u32) -> array<vec4<f32>, ${right.chunk / 4}> {
  ${byPart(count, (p) => `return ${read.replace('right', `right${p}`)};`)}
}
${usesCodes(shape) ? `fn pair_at(part: u32, start: vec2<u32>, r: u32) -> vec2<f32> { ${byPart(count, (p) => `return right${p}_pair_at(start, r);`)} }` : ''}`;
  const reads: Reads = gate
    ? {
        values: (part, start) => `right${part}_${usesCodes(shape) ? 'codes_' : ''}at(${start}, r)`,
        pair: (part, start) => `right${part}_pair_at(${start}, r)`,
      }
    : {
        values: (_, start) => `weights_at(part, ${start}, r)`,
        pair: (_, start) => `pair_at(part, ${start}, r)`,
      };
  const place = (sum: number, lane: string) =>
    `partial[(team * ${sums.length}u + ${sum}u) * ${lanes}u + ${lane}]`;
  const outputs = rows * cols;
  const sumOf = (part: number) =>
    `(scale * partial[(team * ${sums.length}u + ${gate ? `${part * outputs}u + ` : ''}lane) * ${lanes}u])`;
  return `
var<workgroup> partial: array<f32, ${sums.length * lanes * teams}>;
${norm ? normScale(shape, lanes * teams) : ''}
${gate ? '' : readers}
@compute @workgroup_size(${lanes * teams})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  ${findPart(shape)}
  let scale = ${norm ? 'norm_scale(index)' : '1.0'};
  let lane = index % ${lanes}u;
  let team = index / ${lanes}u;
  let first_j = (place * ${teams}u + team) * ${cols}u;
  ${range(rows)
    .map((row) => `let left_start_${row} = left_row(min(${row}u, params.i_count - 1u));`)
    .join('\n  ')}
  ${starts(sums)}
  ${sums.map(({ name }) => `var ${name} = 0.0;`).join(' ')}
  for (var r = lane * ${left.chunk}u; r < params.r_count; r += ${lanes * left.chunk}u) {
    ${loads.join('\n    ')}
    ${addChunk(shape, sums, x, reads)}
  }
  ${sums.map(({ name }, at) => `${place(at, 'lane')} = ${name};`).join('\n  ')}
  for (var step = ${lanes / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) { ${sums.map((_, at) => `${place(at, 'lane')} += ${place(at, 'lane + step')};`).join(' ')} }
  }
  workgroupBarrier();
  if (lane >= ${outputs}u) { return; }
  let i = lane / ${cols}u;
  let j = first_j + lane % ${cols}u;
  if (i >= params.i_count || j >= j_count) { return; }
  ${byPart(count, (p) => store(shape, p, sumOf))}
}`;
}

/** Software adapters: a lane owns columns; a quad reads x together, since every load counts. */
function laneBody(shape: KernelShape, frame: RowFrame): string {
  const { rows, cols, share } = frame;
  const count = choices(shape);
  const part = (p: number) => {
    const sums = sumsOf(shape, frame, p);
    const reads: Reads = {
      values: (which, start) => `right${which}_${usesCodes(shape) ? 'codes_' : ''}at(${start}, r)`,
      pair: (which, start) => `right${which}_pair_at(${start}, r)`,
    };
    const x = (row: number, q: number) => `x_${row}_${q}`;
    const outputs = range(rows * cols).map((output) => {
      const [row, col] = [Math.floor(output / cols), output % cols];
      return `{ let i = ${row}u; let j = first_j + ${col}u;
    if (i < params.i_count && j < j_count) { ${store(shape, p, (which) => `sum${which}_${row}_${col}`)} } }`;
    });
    return `
fn part_${p}(first_j: u32, j_count: u32, quad: u32) {
  ${range(rows)
    .map((row) => `let left_start_${row} = left_row(min(${row}u, params.i_count - 1u));`)
    .join('\n  ')}
  ${starts(sums)}
  ${sums.map(({ name }) => `var ${name} = 0.0;`).join(' ')}
  for (var r = 0u; r < params.r_count; r += ${shape.right.chunk}u) {
    ${sharedRows(shape, frame, x)}
    ${addChunk(shape, sums, x, reads)}
  }
  ${outputs.join('\n  ')}
}`;
  };
  const builtin = share ? ', @builtin(subgroup_invocation_id) subgroup_lane: u32' : '';
  return `
${range(count).map(part).join('\n')}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32${builtin}) {
  let quad = ${share ? 'subgroup_lane % 4u' : '0u'};
  ${findPart(shape)}
  let first_j = (place * 8u + lane) * ${cols}u;
  ${byPart(count, (p) => `part_${p}(first_j, j_count, quad);`)}
}`;
}

/** WGSL: declares a chunk of every row of x; with `share` each lane of a quad reads a quarter of it. */
function sharedRows(
  { right }: KernelShape,
  { rows, share }: RowFrame,
  x: (row: number, q: number) => string,
): string {
  const quads = range(right.chunk / 4);
  return range(rows)
    .flatMap((row) => {
      const at = (offset: string) => `left_at(left_start_${row}, r + ${offset})[0]`;
      if (!share) return quads.map((q) => `let ${x(row, q)} = ${at(`${4 * q}u`)};`);
      return quads.map((q) => {
        const own = `own_${row}_${q >> 2}`;
        const load =
          q % 4 === 0 ? `let ${own} = ${at(`4u * min(${q}u + quad, ${quads.length - 1}u)`)}; ` : '';
        return `${load}let ${x(row, q)} = quadBroadcast(${own}, ${q % 4}u);`;
      });
    })
    .join('\n    ');
}
