/**
 * The attention kernels for GPUs: see `AttentionTile` for how a workgroup shares the work, and `attention.ts` for the
 * mathematics.
 */
import { type BufferSpec, defineKernel, type Kernel, madeOnce, read, write } from '../device/kernel.ts';
import {
  ATTENTION_MAIN,
  ATTENTION_PARAMS,
  attentionCommon,
  LOWEST,
  rowVector,
  scoreGradient,
  unroll,
} from './attentionScore.ts';
import { type AttentionTile, COLUMNS, tileAcross, tileName, tileRows, tileThreads } from './attentionTile.ts';

/** Coordinates of a thread and its own rows. */
function coordinates(tile: AttentionTile): string {
  return `
  let x = lane % ${COLUMNS}u;
  let y = lane / ${COLUMNS}u;
  let own = first + y * ${tile.rows}u;
  let parts = (params.width + ${tile.chunks * COLUMNS - 1}u) / ${tile.chunks * COLUMNS}u;
  let sequence = group.z / parts;
  let first_column = (group.z % parts) * ${tile.chunks * COLUMNS}u;`;
}

/** WGSL: dot products of own rows with the others of the tile at `base`, for each pair of arrays. */
function dots(
  tile: AttentionTile,
  pairs: readonly { sum: string; own: string; other: string; ownAt: string; otherAt: string }[],
): string {
  const { rows, across } = tile;
  return `
${pairs.map(({ sum }) => unroll(across, (n) => `var ${sum}${n} = Rows();`)).join('\n')}
for (var c = 0u; c < params.width; c++) {
${pairs
  .map(
    ({ sum, own, other, ownAt, otherAt }) => `
${unroll(rows, (r) => `let ${own}_${r} = ${own}[${ownAt}${r} + c];`)}
${unroll(across, (n) => `let ${other}_${n} = ${other}[${otherAt}${n} + c];`)}
${unroll(across, (n) => `${sum}${n} += ${rowVector(rows, (r) => `dot(${own}_${r}, ${other}_${n})`)};`)}`,
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
  return unroll(
    chunks,
    (c) => `let column${c} = min(first_column + x + ${c * COLUMNS}u, params.width - 1u);`,
  );
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
  (c) => `if (first_column + x + ${c * COLUMNS}u < params.width) {
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

/** WGSL: the first and the end of the keys that the own queries see; `start` is the position of row 0. */
function keyRange(tile: AttentionTile, rows: string): string {
  return `
  let end = start + min(first + ${tileRows(tile)}u, ${rows});
  let begin = select(0u, start + first - min(start + first, params.window - 1u), params.window > 0u);`;
}

/** The forward kernel; `cached` places row 0 at state[0], of which only state[1] rows are there. */
export const tiledForwardKernel = madeOnce(
  (tile: AttentionTile, cached: boolean, capped: boolean): Kernel => {
    const { rows: R, across, chunks, threadRows } = tile;
    const state: Record<string, BufferSpec> = cached ? { state: read('u32') } : {};
    const lse: Record<string, BufferSpec> = cached ? {} : { lse: write('f32') };
    return defineKernel<string, string>({
      name: `attention.tiled.forward.${tileName(tile)}${cached ? '.cached' : ''}${capped ? '.cap' : ''}`,
      buffers: {
        q: read('vec4<f32>'),
        k: read('vec4<f32>'),
        v: read('vec4<f32>'),
        ...state,
        o: write('vec4<f32>'),
        ...lse,
      },
      params: ATTENTION_PARAMS,
      code: `${attentionCommon(tile.rows, capped)}
var<workgroup> weights: array<Rows, ${threadRows * tileAcross(tile)}>;
var<workgroup> part: array<Rows, ${tileThreads(tile)}>;
@compute @workgroup_size(${tileThreads(tile)})
${ATTENTION_MAIN} {
  let first = (groups.x - 1u - group.x) * ${tileRows(tile)}u;${coordinates(tile)}
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(R, (r) => `let q_at${r} = line(sequence, own + ${r}u, params.tokens, params.heads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'o')}
  var top = Rows(${LOWEST});
  var total = Rows();
  let start = ${cached ? 'state[0]' : '0u'};
${keyRange(tile, cached ? 'min(params.tokens, state[1])' : 'params.tokens')}
  for (var base = begin; base < end; base += ${tileAcross(tile)}u) {
    let j = base + x;
${unroll(across, (n) => `let k_at${n} = line(sequence, j + ${n * COLUMNS}u, params.keyTokens, params.kvHeads, kv_head);`)}
${dots(tile, [{ sum: 's', own: 'q', other: 'k', ownAt: 'q_at', otherAt: 'k_at' }])}
    var peak = Rows(${LOWEST});
${unroll(
  across,
  (n) => `
    s${n} = score(s${n});
    let see${n} = ${rowVector(R, (r) => `sees(start + own + ${r}u, j + ${n * COLUMNS}u)`, 'Mask')} & Mask(j + ${n * COLUMNS}u < end);
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
  'line(sequence, base + n, params.keyTokens, params.kvHeads, kv_head)',
  [{ acc: 'o', weights: 'weights', values: 'v' }],
)}
  }
${acrossColumns(tile, 'total', (a, b) => `${a} + ${b}`)}
  let inverse = select(Rows(), 1.0 / total, total > Rows());
${store(tile, [{ array: 'o', acc: 'o', factor: (r) => `inverse[${r}]` }], (r) => `q_at${r}`)}
${
  cached
    ? ''
    : `  if (x == 0u && first_column == 0u) {
    let sum = top + log(total);
${unroll(R, (r) => `if (own + ${r}u < params.tokens) { lse[q_at${r} / params.width] = sum[${r}]; }`)}
  }`
}
}`,
    });
  },
);

/** dq, and on the way delta = <do, o> of every row, which the kernel for keys needs. */
export const tiledQueriesKernel = madeOnce((tile: AttentionTile, capped: boolean) => {
  const { rows: R, across, threadRows } = tile;
  return defineKernel({
    name: `attention.tiled.queries.${tileName(tile)}${capped ? '.cap' : ''}`,
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
    params: ATTENTION_PARAMS,
    code: `${attentionCommon(tile.rows, capped)}
var<workgroup> weights: array<Rows, ${threadRows * tileAcross(tile)}>;
var<workgroup> part: array<Rows, ${tileThreads(tile)}>;
@compute @workgroup_size(${tileThreads(tile)})
${ATTENTION_MAIN} {
  let first = (groups.x - 1u - group.x) * ${tileRows(tile)}u;${coordinates(tile)}
  let kv_head = group.y / (params.heads / params.kvHeads);
${unroll(R, (r) => `let q_at${r} = line(sequence, own + ${r}u, params.tokens, params.heads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'dq')}
  let lse_own = ${rowVector(R, (r) => `lse[q_at${r} / params.width]`)};
  var delta_own = Rows();
  for (var c = x; c < params.width; c += ${COLUMNS}u) {
    delta_own += ${rowVector(R, (r) => `dot(grad[q_at${r} + c], o[q_at${r} + c])`)};
  }
${acrossColumns(tile, 'delta_own', (a, b) => `${a} + ${b}`)}
  let start = 0u;
${keyRange(tile, 'params.tokens')}
  for (var base = begin; base < end; base += ${tileAcross(tile)}u) {
    let j = base + x;
${unroll(across, (n) => `let k_at${n} = line(sequence, j + ${n * COLUMNS}u, params.keyTokens, params.kvHeads, kv_head);`)}
${dots(tile, [
  { sum: 's', own: 'q', other: 'k', ownAt: 'q_at', otherAt: 'k_at' },
  { sum: 'dp', own: 'grad', other: 'v', ownAt: 'q_at', otherAt: 'k_at' },
])}
    workgroupBarrier();
${unroll(
  across,
  (n) => `
    let see${n} = ${rowVector(R, (r) => `sees(own + ${r}u, j + ${n * COLUMNS}u)`, 'Mask')};
${scoreGradient(n, 'lse_own', 'delta_own', `see${n}`)}
    weights[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = dp${n};`,
)}
    workgroupBarrier();
${weightedSums(
  tile,
  `min(${tileAcross(tile)}u, end - base)`,
  'line(sequence, base + n, params.keyTokens, params.kvHeads, kv_head)',
  [{ acc: 'dq', weights: 'weights', values: 'k' }],
)}
  }
${store(tile, [{ array: 'dq', acc: 'dq' }], (r) => `q_at${r}`)}
  if (x == 0u && first_column == 0u) {
${unroll(R, (r) => `if (own + ${r}u < params.tokens) { delta[q_at${r} / params.width] = delta_own[${r}]; }`)}
  }
}`,
  });
});

/** dk and dv: a workgroup owns keys and walks over the queries that see them, head after head of the group. */
export const tiledKeysKernel = madeOnce((tile: AttentionTile, capped: boolean) => {
  const { rows: R, across, threadRows } = tile;
  const shared = threadRows * tileAcross(tile);
  return defineKernel({
    name: `attention.tiled.keys.${tileName(tile)}${capped ? '.cap' : ''}`,
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
    params: ATTENTION_PARAMS,
    code: `${attentionCommon(tile.rows, capped)}
var<workgroup> weights: array<Rows, ${shared}>;
var<workgroup> slopes: array<Rows, ${shared}>;
@compute @workgroup_size(${tileThreads(tile)})
${ATTENTION_MAIN} {
  let first = group.x * ${tileRows(tile)}u;${coordinates(tile)}
  let share = params.heads / params.kvHeads;
${unroll(R, (r) => `let k_at${r} = line(sequence, own + ${r}u, params.keyTokens, params.kvHeads, group.y);`)}
${columns(tile)}
${accumulators(tile, 'dk')}
${accumulators(tile, 'dv')}
  let reach = select(params.tokens, first + ${tileRows(tile) - 1}u + params.window, params.window > 0u);
  let end = min(reach, params.tokens);
  for (var head = group.y * share; head < group.y * share + share; head++) {
  for (var base = first; base < end; base += ${tileAcross(tile)}u) {
    let i = base + x;
${unroll(across, (n) => `let q_at${n} = line(sequence, i + ${n * COLUMNS}u, params.tokens, params.heads, head);`)}
${dots(tile, [
  { sum: 's', own: 'k', other: 'q', ownAt: 'k_at', otherAt: 'q_at' },
  { sum: 'dp', own: 'v', other: 'grad', ownAt: 'k_at', otherAt: 'q_at' },
])}
    workgroupBarrier();
${unroll(
  across,
  (n) => `
    let see${n} = ${rowVector(R, (r) => `sees(i + ${n * COLUMNS}u, own + ${r}u)`, 'Mask')} & Mask(i + ${n * COLUMNS}u < params.tokens);
    let lse${n} = lse[q_at${n} / params.width];
    let delta${n} = delta[q_at${n} / params.width];
${scoreGradient(n, `lse${n}`, `delta${n}`, `see${n}`)}
    weights[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = s${n};
    slopes[(x + ${n * COLUMNS}u) * ${threadRows}u + y] = dp${n};`,
)}
    workgroupBarrier();
${weightedSums(
  tile,
  `min(${tileAcross(tile)}u, end - base)`,
  'line(sequence, base + n, params.tokens, params.heads, head)',
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
});
