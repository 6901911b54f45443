/**
 * The strategy for software adapters, whose cost is loads: a load of eight lanes takes as long as some thirty
 * multiply-adds. Every thread computes a block of outputs in registers straight from storage, without workgroup
 * memory or barriers.
 *
 * The eight threads of a workgroup stand side by side along j and need the same left values. With `share`, the four
 * lanes of a quad load a quarter of them each and pass them on by `quadBroadcast`: on lavapipe 2 to 3 times faster.
 * Where subgroups are missing, every lane loads them all.
 */
import { declareSums, multiplyAdd, storeLoop } from './matmulFragment.ts';
import type { Body, Contraction } from './matmulKernel.ts';
import { type Operand, range } from './matmulOperand.ts';

export interface DirectPlan {
  readonly kind: 'direct';
  /** Outputs of a thread. Columns are a multiple of 4; so are rows in TN and with `share`. */
  readonly threadRows: number;
  readonly threadCols: number;
  readonly share: boolean;
}

/** Threads of a workgroup: one SIMD register of 32-bit lanes. */
const THREADS = 8;

export function directBody(contraction: Contraction, plan: DirectPlan): Body {
  const { threadRows, threadCols, share } = plan;
  const name = `direct${threadRows}x${threadCols}${share ? 'quad' : ''}`;
  const code = () => directCode(contraction, plan);
  if (!share) return { name, code };
  return { name, code, enable: ['subgroups'], fallback: directBody(contraction, { ...plan, share: false }) };
}

export function directGrid(plan: DirectPlan, rows: number, cols: number): readonly [number, number, number] {
  return [Math.ceil(cols / (plan.threadCols * THREADS)), Math.ceil(rows / plan.threadRows), 1];
}

function directCode({ left, right }: Contraction, { threadRows, threadCols, share }: DirectPlan): string {
  const step = right.contiguous === 'reduction' ? right.chunk : 4;
  const builtins = share ? ', @builtin(subgroup_invocation_id) subgroup_lane: u32' : '';
  const parts = range(step / 4).map(
    (part) => `{
      ${leftFragments(left, threadRows, share, 4 * part)}
      ${rightFragments(right, threadCols, part)}
      ${multiplyAdd(threadRows, threadCols, left.contiguous, right.contiguous)}
    }`,
  );
  const rowCount = `min(${threadRows}u, params.i_count - first_i)`;
  return `
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32${builtins}) {
  let first_i = group.y * ${threadRows}u;
  let first_j = (group.x * ${THREADS}u + lane) * ${threadCols}u;
  let last_r = params.r_count - 1u;
  ${share ? 'let quad_lane = subgroup_lane % 4u;' : ''}
  ${leftStarts(left, threadRows, share)}
  ${rightStarts(right, threadCols)}
  ${declareSums(threadRows, threadCols)}
  for (var r = 0u; r < params.r_count; r += ${step}u) {
    ${rightLoads(right, threadCols)}
    ${parts.join('\n')}
  }
  ${storeLoop(threadRows, threadCols, 'store4(first_i + row, first_j + 4u * quad, value);', rowCount)}
}`;
}

/** Where rows start that do not change with r; with `share` a lane needs every fourth. */
function leftStarts({ contiguous }: Operand, rows: number, share: boolean): string {
  if (contiguous === 'free') return '';
  const start = (n: number, row: string) =>
    `let left_start_${n} = left_row(min(first_i + ${row}, params.i_count - 1u));`;
  if (share)
    return range(rows / 4)
      .map((h) => start(h, `${4 * h}u + quad_lane`))
      .join('\n');
  return range(rows)
    .map((n) => start(n, `${n}u`))
    .join('\n');
}

/** Left values of four steps from r + offset, zero past the end of the reduction. */
function leftFragments({ contiguous }: Operand, rows: number, share: boolean, offset: number): string {
  if (contiguous === 'reduction') {
    const load = (n: number) => `left_at(left_start_${n}, r + ${offset}u)[0]`;
    if (!share)
      return range(rows)
        .map((n) => `let left_${n} = ${load(n)};`)
        .join('\n');
    return range(rows / 4)
      .map((h) => `let own_${h} = ${load(h)};\n${broadcast(`own_${h}`, (l) => `left_${4 * h + l}`)}`)
      .join('\n');
  }
  const load = (r: string, h: number) =>
    `select(vec4<f32>(), left_at(left_row(min(${r}, last_r)), first_i + ${4 * h}u)[0], ${r} <= last_r)`;
  if (!share) {
    return range(4)
      .flatMap((l) => range(rows / 4).map((h) => `let left_${l}_${h} = ${load(`r + ${l}u`, h)};`))
      .join('\n');
  }
  return range(rows / 4)
    .map(
      (h) => `let own_${h} = ${load('r + quad_lane', h)};\n${broadcast(`own_${h}`, (l) => `left_${l}_${h}`)}`,
    )
    .join('\n');
}

function broadcast(own: string, name: (lane: number) => string): string {
  return range(4)
    .map((l) => `let ${name(l)} = quadBroadcast(${own}, ${l}u);`)
    .join('\n');
}

function rightStarts({ contiguous }: Operand, cols: number): string {
  if (contiguous === 'free') return '';
  return range(cols)
    .map((n) => `let right_start_${n} = right_row(min(first_j + ${n}u, params.j_count - 1u));`)
    .join('\n');
}

/** Contiguous along the reduction: one chunk of every column, cut into steps of four by `rightFragments`. */
function rightLoads({ contiguous }: Operand, cols: number): string {
  if (contiguous === 'free') return '';
  return range(cols)
    .map((n) => `let right_all_${n} = right_at(right_start_${n}, r);`)
    .join('\n');
}

function rightFragments({ contiguous, chunk }: Operand, cols: number, part: number): string {
  if (contiguous === 'reduction') {
    return range(cols)
      .map((n) => `let right_${n} = right_all_${n}[${part}];`)
      .join('\n');
  }
  const perChunk = chunk / 4;
  return range(4)
    .flatMap((l) => [
      `let row_${l} = right_row(min(r + ${l}u, last_r));`,
      ...range(cols / chunk).map(
        (c) => `let right_all_${l}_${c} = right_at(row_${l}, first_j + ${c * chunk}u);`,
      ),
      ...range(cols / 4).map(
        (quad) =>
          `let right_${l}_${quad} = right_all_${l}_${Math.floor(quad / perChunk)}[${quad % perChunk}];`,
      ),
    ])
    .join('\n');
}
