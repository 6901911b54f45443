/**
 * The attention kernels for software adapters, which run loads one by one, pay for barriers and workgroup memory, and
 * take tens of milliseconds to compile every load in the text. A thread owns four rows of a head and walks alone over
 * blocks of four rows of the other side: 16 scores in registers from eight loads an element of the head, then the
 * same shape again for the weighted sum, whose accumulators live in the output itself (so heads of any width run).
 */
import { type BufferSpec, defineKernel, type Kernel, read, write } from '../gpu/kernel.ts';
import {
  ATTENTION_MAIN,
  ATTENTION_PARAMS,
  attentionCommon,
  LOWEST,
  rowVector,
  scoreGradient,
  unroll,
} from './attentionScore.ts';

const OWN = 4;
const BLOCK = 4;
const THREADS = 16;

/** Rows of a workgroup. */
export const PLAIN_ROWS = OWN * THREADS;

function ownRows(array: string, at: string, index = 'c'): string {
  return rowVector(OWN, (r) => `${array}[${at}${r} + ${index}]`);
}

function mask(see: (r: number) => string): string {
  return rowVector(OWN, see, 'Mask');
}

/** WGSL: target[row, c] = (0 or `kept`) + sum_n weight_n * value[n, c] for the own rows that exist. */
function blockSum(target: string, ownAt: string, kept: string, weight: string, value: string): string {
  return `
    var ${target}_sum = select(Rows(), ${kept}, begun);
${unroll(BLOCK, (n) => `    ${target}_sum += ${weight}${n} * ${value}${n} + c];`)}
    ${target}[${ownAt}0 + c] = ${target}_sum[0];
${unroll(OWN - 1, (r) => `    if (own + ${r + 1}u < params.tokens) { ${target}[${ownAt}${r + 1} + c] = ${target}_sum[${r + 1}]; }`)}`;
}

/** WGSL: the own rows of a thread that owns queries. `start` is the position of row 0. */
function ownQueries(end: string): string {
  return `
  let own = (groups.x - 1u - group.x) * ${PLAIN_ROWS}u + lane * ${OWN}u;
  if (own >= params.tokens) { return; }
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(OWN, (r) => `let q_at${r} = line(group.z, own + ${r}u, params.tokens, params.heads, group.y);`)}
  let end = start + min(own + ${OWN}u, ${end});
  let begin = select(0u, start + own - min(start + own, params.window - 1u), params.window > 0u);`;
}

const KEY_LINES = unroll(
  BLOCK,
  (n) =>
    `let k_at${n} = line(group.z, min(base + ${n}u, end - 1u), params.keyTokens, params.kvHeads, kv_head);`,
);

/** The forward kernel; `cached` places row 0 at state[0], of which only state[1] rows are there. */
export function plainForwardKernel(cached: boolean): Kernel {
  const state: Record<string, BufferSpec> = cached ? { state: read('u32') } : {};
  const lse: Record<string, BufferSpec> = cached ? {} : { lse: write('f32') };
  return defineKernel<string, string>({
    name: `attention.plain.forward${cached ? '.cached' : ''}`,
    buffers: { q: read('f32'), k: read('f32'), v: read('f32'), ...state, o: write('f32'), ...lse },
    params: ATTENTION_PARAMS,
    code: `${attentionCommon(OWN)}
@compute @workgroup_size(${THREADS})
${ATTENTION_MAIN} {
  let start = ${cached ? 'state[0]' : '0u'};
${ownQueries(cached ? 'min(params.tokens, state[1])' : 'params.tokens')}
  var top = Rows(${LOWEST});
  var total = Rows();
  for (var base = begin; base < end; base += ${BLOCK}u) {
    ${KEY_LINES}
${unroll(BLOCK, (n) => `var s${n} = Rows();`)}
    for (var c = 0u; c < params.width; c++) {
      let mine = ${ownRows('q', 'q_at')};
${unroll(BLOCK, (n) => `s${n} += mine * k[k_at${n} + c];`)}
    }
    var peak = top;
${unroll(
  BLOCK,
  (n) => `s${n} = score(s${n});
let see${n} = ${mask((r) => `sees(start + own + ${r}u, base + ${n}u)`)} & Mask(base + ${n}u < end);
peak = max(peak, select(Rows(${LOWEST}), s${n}, see${n}));`,
)}
    let before = total * exp(top - peak);
    top = peak;
    total = before;
${unroll(BLOCK, (n) => `s${n} = select(Rows(), exp(s${n} - top), see${n}); total += s${n};`)}
    let inverse = select(Rows(), 1.0 / total, total > Rows());
    let keep = before * inverse;
${unroll(BLOCK, (n) => `s${n} *= inverse;`)}
    let begun = base > begin;
    for (var c = 0u; c < params.width; c++) {
${blockSum('o', 'q_at', `${ownRows('o', 'q_at')} * keep`, 's', 'v[k_at')}
    }
  }
  ${
    cached
      ? ''
      : unroll(
          OWN,
          (r) =>
            `if (own + ${r}u < params.tokens) { lse[q_at${r} / params.width] = top[${r}] + log(total[${r}]); }`,
        )
  }
}`,
  });
}

/** dq, and on the way delta = <do, o> of every row. */
export function plainQueriesKernel() {
  return defineKernel({
    name: 'attention.plain.queries',
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
    code: `${attentionCommon(OWN)}
@compute @workgroup_size(${THREADS})
${ATTENTION_MAIN} {
  let start = 0u;
${ownQueries('params.tokens')}
  let lse_own = ${rowVector(OWN, (r) => `lse[q_at${r} / params.width]`)};
  var delta_own = Rows();
  for (var c = 0u; c < params.width; c++) { delta_own += ${ownRows('grad', 'q_at')} * ${ownRows('o', 'q_at')}; }
${unroll(OWN, (r) => `if (own + ${r}u < params.tokens) { delta[q_at${r} / params.width] = delta_own[${r}]; }`)}
  for (var base = begin; base < end; base += ${BLOCK}u) {
    ${KEY_LINES}
${unroll(BLOCK, (n) => `var s${n} = Rows(); var dp${n} = Rows();`)}
    for (var c = 0u; c < params.width; c++) {
      let mine = ${ownRows('q', 'q_at')};
      let mine_grad = ${ownRows('grad', 'q_at')};
${unroll(BLOCK, (n) => `s${n} += mine * k[k_at${n} + c]; dp${n} += mine_grad * v[k_at${n} + c];`)}
    }
${unroll(
  BLOCK,
  (n) => `let see${n} = ${mask((r) => `sees(own + ${r}u, base + ${n}u)`)};
${scoreGradient(n, 'lse_own', 'delta_own', `see${n}`)}`,
)}
    let begun = base > begin;
    for (var c = 0u; c < params.width; c++) {
${blockSum('dq', 'q_at', ownRows('dq', 'q_at'), 'dp', 'k[k_at')}
    }
  }
}`,
  });
}

/** dk and dv: a thread owns keys and walks over the queries that see them, head after head of the group. */
export function plainKeysKernel() {
  return defineKernel({
    name: 'attention.plain.keys',
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
    code: `${attentionCommon(OWN)}
@compute @workgroup_size(${THREADS})
${ATTENTION_MAIN} {
  let own = group.x * ${PLAIN_ROWS}u + lane * ${OWN}u;
  if (own >= params.tokens) { return; }
  let share = params.heads / params.kvHeads;
${unroll(OWN, (r) => `let k_at${r} = line(group.z, own + ${r}u, params.keyTokens, params.kvHeads, group.y);`)}
  let reach = select(params.tokens, own + ${OWN - 1}u + params.window, params.window > 0u);
  let end = min(reach, params.tokens);
  for (var head = group.y * share; head < group.y * share + share; head++) {
  for (var base = own; base < end; base += ${BLOCK}u) {
${unroll(BLOCK, (n) => `let q_at${n} = line(group.z, base + ${n}u, params.tokens, params.heads, head);`)}
${unroll(BLOCK, (n) => `var s${n} = Rows(); var dp${n} = Rows();`)}
    for (var c = 0u; c < params.width; c++) {
      let mine = ${ownRows('k', 'k_at')};
      let mine_value = ${ownRows('v', 'k_at')};
${unroll(BLOCK, (n) => `s${n} += mine * q[q_at${n} + c]; dp${n} += mine_value * grad[q_at${n} + c];`)}
    }
${unroll(
  BLOCK,
  (
    n,
  ) => `let see${n} = ${mask((r) => `sees(base + ${n}u, own + ${r}u)`)} & Mask(base + ${n}u < params.tokens);
let lse${n} = lse[q_at${n} / params.width];
let delta${n} = delta[q_at${n} / params.width];
${scoreGradient(n, `lse${n}`, `delta${n}`, `see${n}`)}`,
)}
    let begun = head > group.y * share || base > own;
    for (var c = 0u; c < params.width; c++) {
${blockSum('dk', 'k_at', ownRows('dk', 'k_at'), 'dp', 'q[q_at')}
${blockSum('dv', 'k_at', ownRows('dv', 'k_at'), 's', 'grad[q_at')}
    }
  }
  }
}`,
  });
}
