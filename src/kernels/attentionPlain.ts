/**
 * The attention kernels for software adapters, whose cost is the number of single loads and stores (about one a
 * nanosecond and core, whatever the address), and where every access in the text takes tens of milliseconds to compile.
 * A thread owns four rows of a head and walks over blocks of 16 rows of the other side, with all scores of a block
 * in registers and the output itself as the accumulator of the weighted sum (so heads of any width run).
 *
 * The eight threads of a workgroup walk together: the four lanes of a quad load a quarter of the block's values each
 * and pass them on by `quadBroadcast`, which leaves 8 loads for 64 multiply-adds. Where subgroups are missing, every
 * lane loads them all, in smaller blocks.
 *
 * In WASM (`assembly/attention.ts`) a thread owns the 32 rows that a workgroup has here.
 */
import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  defineKernel,
  type Grid,
  type Kernel,
  type KernelSpec,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import {
  ATTENTION_PARAMS,
  attentionCommon,
  LOWEST,
  rowVector,
  scoreGradient,
  unroll,
} from './attentionScore.ts';

/** Own rows of a thread, a vector. */
const OWN = 4;

/** Rows of a block: with what quads share, and alone, where every further load is compiled as well. */
function blockOf(share: boolean): number {
  return share ? 16 : 4;
}

/** One SIMD register of 32-bit lanes. */
const THREADS = 8;

/** Rows of a workgroup. */
export const PLAIN_ROWS = OWN * THREADS;

/** Elements of a head at most in WASM: what a thread keeps of it lies in its scratch memory. */
const MOST_WASM_WIDTH = 1600;

/** @throws AlloyError `unsupported` */
export function checkHeadWidth(headWidth: number, tuning: Tuning): void {
  if (tuning !== 'wasm' || headWidth <= MOST_WASM_WIDTH) return;
  throw new AlloyError(
    'unsupported',
    `The attention heads have ${headWidth} elements, but the processor computes at most ${MOST_WASM_WIDTH}; choose another model, or a device with a GPU.`,
  );
}

/** Pieces in WASM: each has the rows of a workgroup. */
function groups(_: unknown, [tiles, heads, batch]: Grid): number {
  return tiles * heads * batch;
}

/** WGSL: the element c of the own rows. */
function ownValues(array: string, at: string): string {
  return rowVector(OWN, (r) => `${array}[${at}${r} + c]`);
}

/** WGSL: declares where the rows of a block begin; with `share`, the quarter of them that this lane loads. */
function blockLines(share: boolean, name: string, line: (n: string) => string): string {
  return unroll(
    share ? blockOf(share) / 4 : blockOf(share),
    (n) => `let ${name}${n} = ${line(share ? `${4 * n}u + quad_lane` : `${n}u`)};`,
  );
}

/** WGSL: declares `name`0 .. with a value for every row of the block, from what the lanes of a quad load. */
function blockValues(share: boolean, name: string, load: (n: number) => string): string {
  if (!share) return unroll(blockOf(share), (n) => `let ${name}${n} = ${load(n)};`);
  return unroll(
    blockOf(share) / 4,
    (h) => `let ${name}_own${h} = ${load(h)};
${unroll(4, (lane) => `let ${name}${4 * h + lane} = quadBroadcast(${name}_own${h}, ${lane}u);`)}`,
  );
}

/** WGSL: declares `sum`0 .. as the products of own rows and the rows of the block. */
function products(
  share: boolean,
  { sum, own, ownAt, other, otherAt }: Record<'sum' | 'own' | 'ownAt' | 'other' | 'otherAt', string>,
): string {
  return `
${unroll(blockOf(share), (n) => `var ${sum}${n} = Rows();`)}
for (var c = 0u; c < params.width; c++) {
  let mine = ${ownValues(own, ownAt)};
${blockValues(share, 'theirs', (n) => `${other}[${otherAt}${n} + c]`)}
${unroll(blockOf(share), (n) => `${sum}${n} += mine * theirs${n};`)}
}`;
}

/**
 * WGSL: target[row, c] = (0 in the first block, else `factor` * target[row, c]) + sum_n weight_n[row] * value[n, c] for
 * the own rows that exist.
 */
function blockSum(
  share: boolean,
  sum: Record<'target' | 'ownAt' | 'weight' | 'values' | 'otherAt', string> & { factor?: string },
): string {
  const { target, ownAt, factor, weight, values, otherAt } = sum;
  return `
for (var c = 0u; c < params.width; c++) {
  var sum = select(Rows(), ${ownValues(target, ownAt)}${factor ? ` * ${factor}` : ''}, begun);
${blockValues(share, 'theirs', (n) => `${values}[${otherAt}${n} + c]`)}
${unroll(blockOf(share), (n) => `sum += ${weight}${n} * theirs${n};`)}
${unroll(OWN, (r) => `if (own + ${r}u < params.tokens) { ${target}[${ownAt}${r} + c] = sum[${r}]; }`)}
}`;
}

/** WGSL: a workgroup that owns queries, and the keys it walks over; `start` is the position of row 0. */
function ownQueries(rows: string): string {
  return `
  let first = (groups.x - 1u - group.x) * ${PLAIN_ROWS}u;
  let own = first + lane * ${OWN}u;
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(OWN, (r) => `let q_at${r} = line(group.z, own + ${r}u, params.tokens, params.heads, group.y);`)}
  let end = start + min(first + ${PLAIN_ROWS}u, ${rows});
  let begin = select(0u, start + first - min(start + first, params.window - 1u), params.window > 0u);`;
}

function keyLines(share: boolean): string {
  return blockLines(
    share,
    'k_at',
    (n) => `line(group.z, min(base + ${n}, end - 1u), params.keyTokens, params.kvHeads, kv_head)`,
  );
}

function mask(see: (r: number) => string): string {
  return rowVector(OWN, see, 'Mask');
}

type Naming = Pick<KernelSpec<string, string>, 'name' | 'enable' | 'fallback'>;

/** The kernel with subgroups, which falls back on the one without. */
function pair(make: (share: boolean, naming: Naming) => Kernel, part: string, capped: boolean): Kernel {
  const name = `${part}${capped ? '.cap' : ''}`;
  const fallback = make(false, { name: `attention.plain.${name}` });
  return make(true, { name: `attention.quad.${name}`, enable: ['subgroups'], fallback });
}

function main(share: boolean): string {
  const builtin = share ? ', @builtin(subgroup_invocation_id) subgroup_lane: u32' : '';
  return `@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32${builtin}) {
  ${share ? 'let quad_lane = subgroup_lane % 4u;' : ''}`;
}

/** The forward kernel; `cached` places row 0 at state[0], of which only state[1] rows are there. */
export const plainForwardKernel = madeOnce((cached: boolean, capped: boolean): Kernel => {
  const state: Record<string, BufferSpec> = cached ? { state: read('u32') } : {};
  const lse: Record<string, BufferSpec> = cached ? {} : { lse: write('f32') };
  const storeLse = unroll(
    OWN,
    (r) =>
      `if (own + ${r}u < params.tokens) { lse[q_at${r} / params.width] = top[${r}] + log(total[${r}]); }`,
  );
  const make = (share: boolean, naming: Naming): Kernel =>
    defineKernel<string, string>({
      ...naming,
      buffers: { q: read('f32'), k: read('f32'), v: read('f32'), ...state, o: write('f32'), ...lse },
      params: ATTENTION_PARAMS,
      code: `${attentionCommon(OWN, capped)}
${main(share)}
  let start = ${cached ? 'state[0]' : '0u'};
${ownQueries(cached ? 'min(params.tokens, state[1])' : 'params.tokens')}
  var top = Rows(${LOWEST});
  var total = Rows();
  for (var base = begin; base < end; base += ${blockOf(share)}u) {
    ${keyLines(share)}
${products(share, { sum: 's', own: 'q', ownAt: 'q_at', other: 'k', otherAt: 'k_at' })}
    var peak = top;
${unroll(
  blockOf(share),
  (n) => `let see${n} = ${mask((r) => `sees(start + own + ${r}u, base + ${n}u)`)} & Mask(base + ${n}u < end);
s${n} = score(s${n});
peak = max(peak, select(Rows(${LOWEST}), s${n}, see${n}));`,
)}
    let before = total * exp(top - peak);
    top = peak;
    total = before;
${unroll(blockOf(share), (n) => `s${n} = select(Rows(), exp(s${n} - top), see${n}); total += s${n};`)}
    let inverse = select(Rows(), 1.0 / total, total > Rows());
    let keep = before * inverse;
${unroll(blockOf(share), (n) => `s${n} *= inverse;`)}
    let begun = base > begin;
${blockSum(share, { target: 'o', ownAt: 'q_at', factor: 'keep', weight: 's', values: 'v', otherAt: 'k_at' })}
  }
  ${cached ? '' : storeLse}
}`,
      wasm: { name: 'attentionForward', constants: [cached ? 1 : 0], pieces: groups },
    });
  return pair(make, `forward${cached ? '.cached' : ''}`, capped);
});

/** dq, and on the way delta = <do, o> of every row. */
export const plainQueriesKernel = madeOnce((capped: boolean): Kernel => {
  const make = (share: boolean, naming: Naming): Kernel =>
    defineKernel<string, string>({
      ...naming,
      buffers: {
        q: read('f32'),
        k: read('f32'),
        v: read('f32'),
        o: read('f32'),
        grad: read('f32'),
        lse: read('f32'),
        dq: write('f32'),
        delta: write('f32'),
      },
      params: ATTENTION_PARAMS,
      code: `${attentionCommon(OWN, capped)}
${main(share)}
  let start = 0u;
${ownQueries('params.tokens')}
  let lse_own = ${rowVector(OWN, (r) => `lse[q_at${r} / params.width]`)};
  var delta_own = Rows();
  for (var c = 0u; c < params.width; c++) { delta_own += ${ownValues('grad', 'q_at')} * ${ownValues('o', 'q_at')}; }
${unroll(OWN, (r) => `if (own + ${r}u < params.tokens) { delta[q_at${r} / params.width] = delta_own[${r}]; }`)}
  for (var base = begin; base < end; base += ${blockOf(share)}u) {
    ${keyLines(share)}
${products(share, { sum: 's', own: 'q', ownAt: 'q_at', other: 'k', otherAt: 'k_at' })}
${products(share, { sum: 'dp', own: 'grad', ownAt: 'q_at', other: 'v', otherAt: 'k_at' })}
${unroll(
  blockOf(share),
  (n) => `let see${n} = ${mask((r) => `sees(own + ${r}u, base + ${n}u)`)} & Mask(base + ${n}u < end);
${scoreGradient(n, 'lse_own', 'delta_own', `see${n}`)}`,
)}
    let begun = base > begin;
${blockSum(share, { target: 'dq', ownAt: 'q_at', weight: 'dp', values: 'k', otherAt: 'k_at' })}
  }
}`,
      wasm: { name: 'attentionQueries', pieces: groups },
    });
  return pair(make, 'queries', capped);
});

/** dk and dv: a workgroup owns keys and walks over the queries that see them, head after head of the group. */
export const plainKeysKernel = madeOnce((capped: boolean): Kernel => {
  const make = (share: boolean, naming: Naming): Kernel =>
    defineKernel<string, string>({
      ...naming,
      buffers: {
        q: read('f32'),
        k: read('f32'),
        v: read('f32'),
        grad: read('f32'),
        lse: read('f32'),
        delta: read('f32'),
        dk: write('f32'),
        dv: write('f32'),
      },
      params: ATTENTION_PARAMS,
      code: `${attentionCommon(OWN, capped)}
${main(share)}
  let first = group.x * ${PLAIN_ROWS}u;
  let own = first + lane * ${OWN}u;
  let share = params.heads / params.kvHeads;
${unroll(OWN, (r) => `let k_at${r} = line(group.z, own + ${r}u, params.keyTokens, params.kvHeads, group.y);`)}
  let reach = select(params.tokens, first + ${PLAIN_ROWS - 1}u + params.window, params.window > 0u);
  let end = min(reach, params.tokens);
  for (var head = group.y * share; head < group.y * share + share; head++) {
  for (var base = first; base < end; base += ${blockOf(share)}u) {
${blockLines(share, 'q_at', (n) => `line(group.z, base + ${n}, params.tokens, params.heads, head)`)}
${products(share, { sum: 's', own: 'k', ownAt: 'k_at', other: 'q', otherAt: 'q_at' })}
${products(share, { sum: 'dp', own: 'v', ownAt: 'k_at', other: 'grad', otherAt: 'q_at' })}
${blockValues(share, 'lse_of', (n) => `lse[q_at${n} / params.width]`)}
${blockValues(share, 'delta_of', (n) => `delta[q_at${n} / params.width]`)}
${unroll(
  blockOf(share),
  (
    n,
  ) => `let see${n} = ${mask((r) => `sees(base + ${n}u, own + ${r}u)`)} & Mask(base + ${n}u < params.tokens);
${scoreGradient(n, `lse_of${n}`, `delta_of${n}`, `see${n}`)}`,
)}
    let begun = head > group.y * share || base > first;
${blockSum(share, { target: 'dk', ownAt: 'k_at', weight: 'dp', values: 'q', otherAt: 'q_at' })}
${blockSum(share, { target: 'dv', ownAt: 'k_at', weight: 's', values: 'grad', otherAt: 'q_at' })}
  }
  }
}`,
      wasm: { name: 'attentionKeys', pieces: groups },
    });
  return pair(make, 'keys', capped);
});
