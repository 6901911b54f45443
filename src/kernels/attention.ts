/**
 * Causal attention for training, after FlashAttention-2 (Dao 2023): nothing of size T x T is stored; the forward pass
 * keeps o [B * T, H * d] and the log-sum-exp of every score row, lse [B * T, H], and the backward pass recomputes the
 * probabilities from them.
 *
 *   s[i, j] = cap * tanh(scale * <q[i], k[j]> / cap)     (scale * <q[i], k[j]> where cap is 0)
 *   for keys j with i - window < j <= i                  (0 <= j <= i where window is 0)
 *   p = softmax(s),  o[i] = sum_j p[i, j] v[j]
 *
 * q is [B * T, H * d], k and v are [B * T, Hkv * d]; H / Hkv query heads share a key head. Sequences padded on the right
 * need no mask. Grids are [row tiles, heads, batch], heavy tiles first. Invisible tiles are skipped, so the cost is
 * about T^2 / 2 (or T * window) scores a head: 4 d flops each forward, 14 d backward. No atomics: dq is summed
 * query-major, dk and dv key-major over all heads of the group, each in a fixed order. See `AttentionTile` for how a
 * workgroup shares the work.
 */
import { type Dispatch, defineKernel, dispatch, type Grid, read, write } from '../gpu/kernel.ts';
import {
  type AttentionTile,
  attentionTile,
  COLUMNS,
  tileAcross,
  tileName,
  tileRows,
  tileThreads,
  unroll,
} from './attentionTile.ts';
import type { Tuning } from './matmul.ts';

export interface AttentionShape {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  /** d: a multiple of 4 up to 256. */
  readonly headWidth: number;
  readonly scale: number;
  /** A query sees itself and the window - 1 keys before it; 0 for all before it. */
  readonly window: number;
  /** Soft cap of the scores; 0 for none. */
  readonly cap: number;
}

const PARAMS = {
  tokens: 'u32',
  heads: 'u32',
  kvHeads: 'u32',
  /** vec4 of a head. */
  chunks: 'u32',
  window: 'u32',
  scale: 'f32',
  cap: 'f32',
} as const;

function paramsOf({ tokens, heads, kvHeads, headWidth, window, scale, cap }: AttentionShape) {
  return { tokens, heads, kvHeads, chunks: headWidth / 4, window, scale, cap };
}

function gridOf({ batch, tokens, heads }: AttentionShape, tile: AttentionTile): Grid {
  return [Math.ceil(tokens / tileRows(tile)), heads, batch];
}

/** Below every score, yet far from overflow when subtracted. */
const LOWEST = '-1e30';

const MAIN = `fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
)`;

/**
 * WGSL shared by the three kernels. `line` is where the vec4 of a head begin in [B * T, heads * d]; past the end of a
 * sequence it is the last row, whose scores are masked. tanh goes through exp with a clamped argument, since the
 * built-in overflows on some drivers.
 */
function common(tile: AttentionTile): string {
  const rows = `vec${tile.rows}<f32>`;
  return `
alias Rows = ${rows};
alias Mask = vec${tile.rows}<bool>;
fn line(sequence: u32, token: u32, heads: u32, head: u32) -> u32 {
  return ((sequence + min(token, params.tokens - 1u)) * heads + head) * params.chunks;
}
fn tanh_of(z: Rows) -> Rows { return 1.0 - 2.0 / (1.0 + exp(2.0 * clamp(z, Rows(-15.0), Rows(15.0)))); }
fn sees(i: u32, j: u32) -> bool {
  return j <= i && i < params.tokens && (params.window == 0u || i - j < params.window);
}`;
}

/** Per-row expressions gathered into a vector over the own rows of a thread. */
function rowVector(tile: AttentionTile, of: (r: number) => string, type = 'Rows'): string {
  return `${type}(${Array.from({ length: tile.rows }, (_, r) => of(r)).join(', ')})`;
}

/** Coordinates of a thread and its own rows. */
function coordinates(tile: AttentionTile): string {
  return `
  let x = lane % ${COLUMNS}u;
  let y = lane / ${COLUMNS}u;
  let own = first + y * ${tile.rows}u;
  let sequence = group.z * params.tokens;`;
}

/** WGSL: dot products of own rows with the others of the tile at `base`, for each pair of arrays. */
function dots(
  tile: AttentionTile,
  pairs: readonly { sum: string; own: string; other: string; ownAt: string; otherAt: string }[],
): string {
  const { rows, across } = tile;
  return `
${pairs.map(({ sum }) => unroll(across, (n) => `var ${sum}${n} = Rows();`)).join('\n')}
for (var c = 0u; c < params.chunks; c++) {
${pairs
  .map(
    ({ sum, own, other, ownAt, otherAt }) => `
${unroll(rows, (r) => `let ${own}_${r} = ${own}[${ownAt}${r} + c];`)}
${unroll(across, (n) => `let ${other}_${n} = ${other}[${otherAt}${n} + c];`)}
${unroll(across, (n) => `${sum}${n} += ${rowVector(tile, (r) => `dot(${own}_${r}, ${other}_${n})`)};`)}`,
  )
  .join('\n')}
}`;
}

/** WGSL: adds, over the other rows `n` of the tile, weight[row] * value[n, column] to the accumulators. */
function weightedSums(
  tile: AttentionTile,
  count: string,
  valueLine: string,
  sums: readonly { acc: string; weights: string; values: string }[],
): string {
  return `
for (var n = 0u; n < ${count}; n++) {
  let at = ${valueLine};
${sums
  .map(
    ({ acc, weights, values }) => `
  let ${acc}_w = ${weights}[n * ${tile.threadRows}u + y];
${unroll(
  tile.chunks,
  (c) => `  let ${acc}_v${c} = ${values}[at + column${c}];
${unroll(tile.rows, (r) => `  ${acc}${r}_${c} += ${acc}_w[${r}] * ${acc}_v${c};`)}`,
)}`,
  )
  .join('\n')}
}`;
}

/** WGSL: the vec4 columns of a thread; those past the head read its last one and are not stored. */
function columns({ chunks }: AttentionTile): string {
  return unroll(chunks, (c) => `let column${c} = min(x + ${c * COLUMNS}u, params.chunks - 1u);`);
}

function accumulators({ rows, chunks }: AttentionTile, name: string): string {
  return unroll(rows, (r) => unroll(chunks, (c) => `var ${name}${r}_${c} = vec4<f32>();`));
}

/** WGSL: stores the accumulators (times `factor`) of the own rows that exist. */
function store(
  { rows, chunks }: AttentionTile,
  outputs: readonly { array: string; acc: string; factor?: (r: number) => string }[],
  at: (r: number) => string,
): string {
  return unroll(
    rows,
    (r) => `if (own + ${r}u < params.tokens) {
${unroll(
  chunks,
  (c) => `if (x + ${c * COLUMNS}u < params.chunks) {
${outputs.map(({ array, acc, factor }) => `${array}[${at(r)} + column${c}] = ${acc}${r}_${c}${factor ? ` * ${factor(r)}` : ''};`).join('\n')}
}`,
)}
}`,
  );
}

/** WGSL: `combine` over the partial row vectors of the threads of a row, in order of x. */
function acrossColumns(tile: AttentionTile, name: string, combine: (a: string, b: string) => string): string {
  return `
part[x * ${tile.threadRows}u + y] = ${name};
workgroupBarrier();
${name} = part[y];
for (var other = 1u; other < ${COLUMNS}u; other++) {
  ${name} = ${combine(name, `part[other * ${tile.threadRows}u + y]`)};
}`;
}

/** WGSL: the first and the end of the keys that the queries from `first` on see. */
function keyRange(tile: AttentionTile): string {
  return `
  let end = min(first + ${tileRows(tile)}u, params.tokens);
  let begin = select(0u, first - min(first, params.window - 1u), params.window > 0u);`;
}

function forwardKernel(tile: AttentionTile) {
  const { rows: R, across, chunks, threadRows } = tile;
  return defineKernel({
    name: `attention.forward.${tileName(tile)}`,
    buffers: {
      q: read('vec4<f32>'),
      k: read('vec4<f32>'),
      v: read('vec4<f32>'),
      o: write('vec4<f32>'),
      lse: write('f32'),
    },
    params: PARAMS,
    code: `${common(tile)}
var<workgroup> weights: array<Rows, ${threadRows * tileAcross(tile)}>;
var<workgroup> part: array<Rows, ${tileThreads(tile)}>;
@compute @workgroup_size(${tileThreads(tile)})
${MAIN} {
  let first = (groups.x - 1u - group.x) * ${tileRows(tile)}u;${coordinates(tile)}
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(R, (r) => `let q_at${r} = line(sequence, own + ${r}u, params.heads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'o')}
  var top = Rows(${LOWEST});
  var total = Rows();
${keyRange(tile)}
  for (var base = begin; base < end; base += ${tileAcross(tile)}u) {
    let j = base + x;
${unroll(across, (n) => `let k_at${n} = line(sequence, j + ${n * COLUMNS}u, params.kvHeads, kv_head);`)}
${dots(tile, [{ sum: 's', own: 'q', other: 'k', ownAt: 'q_at', otherAt: 'k_at' }])}
    var peak = Rows(${LOWEST});
${unroll(
  across,
  (n) => `
    s${n} *= params.scale;
    if (params.cap > 0.0) { s${n} = params.cap * tanh_of(s${n} / params.cap); }
    let see${n} = ${rowVector(tile, (r) => `sees(own + ${r}u, j + ${n * COLUMNS}u)`, 'Mask')};
    peak = max(peak, select(Rows(${LOWEST}), s${n}, see${n}));`,
)}
${acrossColumns(tile, 'peak', (a, b) => `max(${a}, ${b})`)}
    peak = max(peak, top);
    let keep = exp(top - peak);
    top = peak;
    total *= keep;
${unroll(
  across,
  (n) => `
    let p${n} = select(Rows(), exp(s${n} - top), see${n});
    total += p${n};
    weights[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = p${n};`,
)}
    workgroupBarrier();
${unroll(R, (r) => unroll(chunks, (c) => `o${r}_${c} *= keep[${r}];`))}
${weightedSums(
  tile,
  `min(${tileAcross(tile)}u, end - base)`,
  'line(sequence, base + n, params.kvHeads, kv_head)',
  [{ acc: 'o', weights: 'weights', values: 'v' }],
)}
  }
  workgroupBarrier();
${acrossColumns(tile, 'total', (a, b) => `${a} + ${b}`)}
  let inverse = 1.0 / total;
${store(tile, [{ array: 'o', acc: 'o', factor: (r) => `inverse[${r}]` }], (r) => `q_at${r}`)}
  if (x == 0u) {
    let sum = top + log(total);
${unroll(R, (r) => `if (own + ${r}u < params.tokens) { lse[(sequence + own + ${r}u) * params.heads + group.y] = sum[${r}]; }`)}
  }
}`,
  });
}

/** WGSL: from the raw products s and dp of column n to the probability (in s) and the gradient of the score (in dp). */
function scoreGradient(n: number, lse: string, delta: string, see: string): string {
  return `{
  var slope = Rows(params.scale);
  s${n} *= params.scale;
  if (params.cap > 0.0) {
    let t = tanh_of(s${n} / params.cap);
    s${n} = params.cap * t;
    slope *= 1.0 - t * t;
  }
  s${n} = select(Rows(), exp(min(s${n} - ${lse}, Rows())), ${see});
  dp${n} = s${n} * (dp${n} - ${delta}) * slope;
}`;
}

/** dq, and on the way delta = <do, o> of every row, which the kernel for keys needs. */
function queriesKernel(tile: AttentionTile) {
  const { rows: R, across, threadRows } = tile;
  return defineKernel({
    name: `attention.queries.${tileName(tile)}`,
    buffers: {
      q: read('vec4<f32>'),
      k: read('vec4<f32>'),
      v: read('vec4<f32>'),
      o: read('vec4<f32>'),
      grad: read('vec4<f32>'),
      lse: read('f32'),
      dq: write('vec4<f32>'),
      delta: write('f32'),
    },
    params: PARAMS,
    code: `${common(tile)}
var<workgroup> weights: array<Rows, ${threadRows * tileAcross(tile)}>;
var<workgroup> part: array<Rows, ${tileThreads(tile)}>;
@compute @workgroup_size(${tileThreads(tile)})
${MAIN} {
  let first = (groups.x - 1u - group.x) * ${tileRows(tile)}u;${coordinates(tile)}
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(R, (r) => `let q_at${r} = line(sequence, own + ${r}u, params.heads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'dq')}
  let lse_own = ${rowVector(tile, (r) => `lse[q_at${r} / params.chunks]`)};
  var delta_own = Rows();
  for (var c = x; c < params.chunks; c += ${COLUMNS}u) {
    delta_own += ${rowVector(tile, (r) => `dot(grad[q_at${r} + c], o[q_at${r} + c])`)};
  }
${acrossColumns(tile, 'delta_own', (a, b) => `${a} + ${b}`)}
${keyRange(tile)}
  for (var base = begin; base < end; base += ${tileAcross(tile)}u) {
    let j = base + x;
${unroll(across, (n) => `let k_at${n} = line(sequence, j + ${n * COLUMNS}u, params.kvHeads, kv_head);`)}
${dots(tile, [
  { sum: 's', own: 'q', other: 'k', ownAt: 'q_at', otherAt: 'k_at' },
  { sum: 'dp', own: 'grad', other: 'v', ownAt: 'q_at', otherAt: 'k_at' },
])}
    workgroupBarrier();
${unroll(
  across,
  (n) => `
    let see${n} = ${rowVector(tile, (r) => `sees(own + ${r}u, j + ${n * COLUMNS}u)`, 'Mask')};
${scoreGradient(n, 'lse_own', 'delta_own', `see${n}`)}
    weights[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = dp${n};`,
)}
    workgroupBarrier();
${weightedSums(
  tile,
  `min(${tileAcross(tile)}u, end - base)`,
  'line(sequence, base + n, params.kvHeads, kv_head)',
  [{ acc: 'dq', weights: 'weights', values: 'k' }],
)}
  }
${store(tile, [{ array: 'dq', acc: 'dq' }], (r) => `q_at${r}`)}
  if (x == 0u) {
${unroll(R, (r) => `if (own + ${r}u < params.tokens) { delta[q_at${r} / params.chunks] = delta_own[${r}]; }`)}
  }
}`,
  });
}

/** dk and dv: a workgroup owns keys and walks over the queries that see them, head after head of the group. */
function keysKernel(tile: AttentionTile) {
  const { rows: R, across, threadRows } = tile;
  const shared = threadRows * tileAcross(tile);
  return defineKernel({
    name: `attention.keys.${tileName(tile)}`,
    buffers: {
      q: read('vec4<f32>'),
      k: read('vec4<f32>'),
      v: read('vec4<f32>'),
      grad: read('vec4<f32>'),
      lse: read('f32'),
      delta: read('f32'),
      dk: write('vec4<f32>'),
      dv: write('vec4<f32>'),
    },
    params: PARAMS,
    code: `${common(tile)}
var<workgroup> weights: array<Rows, ${shared}>;
var<workgroup> slopes: array<Rows, ${shared}>;
@compute @workgroup_size(${tileThreads(tile)})
${MAIN} {
  let first = group.x * ${tileRows(tile)}u;${coordinates(tile)}
  let share = params.heads / params.kvHeads;
${unroll(R, (r) => `let k_at${r} = line(sequence, own + ${r}u, params.kvHeads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'dk')}
${accumulators(tile, 'dv')}
  let reach = select(params.tokens, first + ${tileRows(tile) - 1}u + params.window, params.window > 0u);
  let end = min(reach, params.tokens);
  for (var head = group.y * share; head < group.y * share + share; head++) {
  for (var base = first; base < end; base += ${tileAcross(tile)}u) {
    let i = base + x;
${unroll(across, (n) => `let q_at${n} = line(sequence, i + ${n * COLUMNS}u, params.heads, head);`)}
${dots(tile, [
  { sum: 's', own: 'k', other: 'q', ownAt: 'k_at', otherAt: 'q_at' },
  { sum: 'dp', own: 'v', other: 'grad', ownAt: 'k_at', otherAt: 'q_at' },
])}
    workgroupBarrier();
${unroll(
  across,
  (n) => `
    let see${n} = ${rowVector(tile, (r) => `sees(i + ${n * COLUMNS}u, own + ${r}u)`, 'Mask')};
    let lse${n} = lse[q_at${n} / params.chunks];
    let delta${n} = delta[q_at${n} / params.chunks];
${scoreGradient(n, `lse${n}`, `delta${n}`, `see${n}`)}
    weights[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = s${n};
    slopes[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = dp${n};`,
)}
    workgroupBarrier();
${weightedSums(
  tile,
  `min(${tileAcross(tile)}u, end - base)`,
  'line(sequence, base + n, params.heads, head)',
  [
    { acc: 'dv', weights: 'weights', values: 'grad' },
    { acc: 'dk', weights: 'slopes', values: 'q' },
  ],
)}
  }
  }
${store(
  tile,
  [
    { array: 'dk', acc: 'dk' },
    { array: 'dv', acc: 'dv' },
  ],
  (r) => `k_at${r}`,
)}
}`,
  });
}

/** o [B * T, H * d] and lse [B * T, H] from q, k and v. */
export function attentionForward<B>(
  { q, k, v, o, lse }: { q: B; k: B; v: B; o: B; lse: B },
  shape: AttentionShape,
  tuning: Tuning,
): Dispatch<B> {
  const tile = attentionTile(shape.headWidth, 'forward', tuning);
  return dispatch(forwardKernel(tile), { q, k, v, o, lse }, paramsOf(shape), gridOf(shape, tile));
}

/**
 * dq, dk and dv, each written once, from the gradient `grad` of o and what the forward pass saved. `delta` [B * T, H]
 * is scratch of `attentionDeltaBytes`.
 */
export function attentionBackward<B>(
  buffers: { q: B; k: B; v: B; o: B; lse: B; grad: B; delta: B; dq: B; dk: B; dv: B },
  shape: AttentionShape,
  tuning: Tuning,
): Dispatch<B>[] {
  const { q, k, v, o, lse, grad, delta, dq, dk, dv } = buffers;
  const queries = attentionTile(shape.headWidth, 'queries', tuning);
  const keys = attentionTile(shape.headWidth, 'keys', tuning);
  const params = paramsOf(shape);
  const keyGrid = gridOf({ ...shape, heads: shape.kvHeads }, keys);
  return [
    dispatch(queriesKernel(queries), { q, k, v, o, grad, lse, dq, delta }, params, gridOf(shape, queries)),
    dispatch(keysKernel(keys), { q, k, v, grad, lse, delta, dk, dv }, params, keyGrid),
  ];
}

/** Bytes of the scratch buffer `delta`. */
export function attentionDeltaBytes({ batch, tokens, heads }: AttentionShape): number {
  return batch * tokens * heads * 4;
}
