/**
 * Attention with a cache of keys and values, for one sequence: T new rows stand at the positions start .. start + T - 1
 * of a cache [capacity, Hkv * d]. `state` (u32) holds [start, valid]: rows from `valid` on are padding, which is not
 * written to the cache and whose output is finite but meaningless.
 *
 * Many rows (a prompt) run through the kernels of the training pass. Few rows (generation) have little work in
 * common, so the keys are split: a workgroup takes one head of one row and a span of keys, keeps the scores of the
 * span in workgroup memory, and leaves an unnormalised sum; a second kernel brings the spans together (software
 * adapters take all heads of a key head at once, see `attentionCachedQuad.ts`, and so does WASM). The
 * number of spans is fixed by the capacity, so that the grid is; spans grow with the context.
 */

import type { Tuning } from '../device/device.ts';
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  LINEAR_GROUP,
  linearGrid,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { required } from '../util/errors.ts';
import { MOST_GROUPED, quadSpan, quadSpanKernel } from './attentionCachedQuad.ts';
import { checkHeadWidth, PLAIN_ROWS, plainForwardKernel } from './attentionPlain.ts';
import {
  ATTENTION_PARAMS,
  type AttentionShape,
  attentionCommon,
  attentionGrid,
  attentionParams,
  LOWEST,
} from './attentionScore.ts';
import { attentionTile, tileRows } from './attentionTile.ts';
import { tiledForwardKernel } from './attentionTiled.ts';

export interface CachedAttentionShape extends Omit<AttentionShape, 'batch'> {
  /** Rows of the cache; start + tokens must not pass it. */
  readonly capacity: number;
}

/** Rows up to which the keys are split. */
const FEW_ROWS = 8;

const THREADS = 128;

/** Keys of a span at most: their scores lie in workgroup memory. */
const MAX_SPAN = 1024;
const MIN_SPAN = 64;
const WANTED_SPANS = 16;
/** In WASM a span may have any length; a cache of so many keys is worth one more. */
const WASM_SPAN = 128;

/** Few rows share the work by keys; the kernels for that read whole vec4. */
function splitsKeys({ tokens, headWidth }: CachedAttentionShape): boolean {
  return tokens <= FEW_ROWS && headWidth % 4 === 0;
}

/** Query heads of a key head where the kernel for software adapters takes them together. */
function groupOf({ heads, kvHeads }: CachedAttentionShape, tuning: Tuning): number | undefined {
  const group = heads / kvHeads;
  return tuning === 'software' && group <= MOST_GROUPED ? group : undefined;
}

function spansOf(shape: CachedAttentionShape, tuning: Tuning): number {
  const { capacity } = shape;
  if (tuning === 'wasm') return Math.min(WANTED_SPANS, Math.ceil(capacity / WASM_SPAN));
  const group = groupOf(shape, tuning);
  // Two cores at least have work.
  if (group !== undefined) return Math.max(Math.ceil(capacity / quadSpan(group)), shape.kvHeads > 1 ? 1 : 2);
  const needed = Math.ceil(capacity / MAX_SPAN);
  if (tuning !== 'gpu') return needed;
  return Math.max(needed, Math.min(WANTED_SPANS, Math.ceil(capacity / MIN_SPAN)));
}

/** WGSL: the keys begin .. end that the row sees (none for padding), and how many of them make a span. */
const RANGE_WGSL = `
struct Range { begin: u32, end: u32, span: u32 }
fn range_of(row: u32) -> Range {
  let end = select(0u, min(state[0] + row + 1u, params.keyTokens), row < state[1]);
  let begin = select(0u, end - min(end, params.window), params.window > 0u);
  return Range(begin, end, max(${MIN_SPAN}u, (end - begin + params.spans - 1u) / params.spans));
}`;

const PARAMS = { ...ATTENTION_PARAMS, spans: 'u32' } as const;
const FRAME = { range: RANGE_WGSL, params: { spans: 'u32' } } as const;

/** WGSL: the sum or maximum of `part[.].x` over the workgroup, in a fixed order. */
function reduce(combine: (a: string, b: string) => string): string {
  return `
  for (var step = ${THREADS / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) { part[lane].x = ${combine('part[lane].x', 'part[lane + step].x')}; }
  }
  workgroupBarrier();`;
}

/**
 * One workgroup a span, head and row. A thread makes the scores of every 128th key of the span; then the threads spread
 * over the vec4 columns of the head and, as far as they reach, over keys, and add up the weighted values.
 */
const spanKernel = madeOnce((single: boolean, capped: boolean): Kernel => {
  const target: Record<string, BufferSpec> = single
    ? { o: write('vec4<f32>') }
    : { scratch: write('vec4<f32>') };
  const result = single
    ? 'o[q_at + x] = sum * select(0.0, 1.0 / total, total > 0.0);'
    : `let at = (group.z * params.heads + group.y) * params.spans + group.x;
    scratch[at * params.width + x] = sum;
    if (x == 0u) {
      scratch[params.tokens * params.heads * params.spans * params.width + at] = vec4<f32>(top, total, 0.0, 0.0);
    }`;
  return defineKernel<string, string>({
    name: `attention.cached.span${single ? '.single' : ''}${capped ? '.cap' : ''}`,
    buffers: {
      q: read('vec4<f32>'),
      k: read('vec4<f32>'),
      v: read('vec4<f32>'),
      state: read('u32'),
      ...target,
    },
    params: PARAMS,
    code: `${attentionCommon(2, capped)}
${RANGE_WGSL}
var<workgroup> weights: array<f32, ${MAX_SPAN}>;
var<workgroup> part: array<vec4<f32>, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let range = range_of(group.z);
  let first = range.begin + group.x * range.span;
  let end = min(first + range.span, range.end);
  ${single ? '' : 'if (first >= end) { return; }'}
  let kv_head = group.y / (params.heads / params.kvHeads);
  let q_at = line(0u, group.z, params.tokens, params.heads, group.y);
  let stride = params.kvHeads * params.width;
  let k_at = kv_head * params.width;

  var top = ${LOWEST};
  for (var j = first + lane; j < end; j += ${THREADS}u) {
    var product = 0.0;
    for (var c = 0u; c < params.width; c++) { product += dot(q[q_at + c], k[j * stride + k_at + c]); }
    let s = score(Rows(product)).x;
    weights[j - first] = s;
    top = max(top, s);
  }
  part[lane].x = top;
${reduce((a, b) => `max(${a}, ${b})`)}
  top = part[0].x;
  workgroupBarrier();

  var total = 0.0;
  for (var j = first + lane; j < end; j += ${THREADS}u) {
    let weight = exp(weights[j - first] - top);
    weights[j - first] = weight;
    total += weight;
  }
  part[lane].x = total;
${reduce((a, b) => `${a} + ${b}`)}
  total = part[0].x;
  workgroupBarrier();

  let strands = ${THREADS}u / params.width;
  let x = lane % params.width;
  let strand = lane / params.width;
  var sum = vec4<f32>();
  if (strand < strands) {
    for (var j = first + strand; j < end; j += strands) { sum += weights[j - first] * v[j * stride + k_at + x]; }
  }
  part[lane] = sum;
  workgroupBarrier();
  if (strand == 0u) {
    for (var other = 1u; other < strands; other++) { sum += part[other * params.width + x]; }
    ${result}
  }
}`,
    wasm: {
      name: 'attentionSpan',
      constants: [single ? 1 : 0],
      pieces: ({ spans = 1, kvHeads = 1, tokens = 1 }) => spans * kvHeads * tokens,
    },
  });
});

/** o from the sums of the spans; one workgroup a head and row. */
const combineKernel = defineKernel({
  name: 'attention.cached.combine',
  buffers: { scratch: read('vec4<f32>'), state: read('u32'), o: write('vec4<f32>') },
  params: PARAMS,
  code: `
${RANGE_WGSL}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) x: u32) {
  if (x >= params.width) { return; }
  let range = range_of(group.y);
  let spans = (range.end - range.begin + range.span - 1u) / range.span;
  let row = group.y * params.heads + group.x;
  var top = ${LOWEST};
  for (var n = 0u; n < spans; n++) {
    top = max(top, scratch[params.tokens * params.heads * params.spans * params.width + row * params.spans + n].x);
  }
  var sum = vec4<f32>();
  var total = 0.0;
  for (var n = 0u; n < spans; n++) {
    let at = row * params.spans + n;
    let stat = scratch[params.tokens * params.heads * params.spans * params.width + at];
    let factor = exp(stat.x - top);
    sum += factor * scratch[at * params.width + x];
    total += factor * stat.y;
  }
  o[row * params.width + x] = sum * select(0.0, 1.0 / total, total > 0.0);
}`,
  wasm: { name: 'attentionCombine', pieces: ({ tokens, heads }) => tokens * heads },
});

/** Bytes of the scratch buffer of `attentionCached`; 0 where it needs none. */
export function attentionCachedScratchBytes(shape: CachedAttentionShape, tuning: Tuning): number {
  const spans = spansOf(shape, tuning);
  if (!splitsKeys(shape) || spans === 1) return 0;
  return shape.tokens * shape.heads * spans * (shape.headWidth + 4) * 4;
}

/**
 * o [T, H * d] from q [T, H * d] and the caches `k` and `v` [capacity, Hkv * d], into which the new rows have been
 * written (`cacheWrite`). `scratch` has `attentionCachedScratchBytes`; it may be left out where that is 0.
 */
export function attentionCached<B>(
  buffers: { q: B; k: B; v: B; state: B; o: B; scratch?: B },
  shape: CachedAttentionShape,
  tuning: Tuning,
): Dispatch<B>[] {
  const { q, k, v, state, o, scratch } = buffers;
  const { tokens, heads, headWidth, capacity } = shape;
  const one = { ...shape, batch: 1 };
  const capped = shape.cap > 0;
  if (!splitsKeys(shape)) {
    checkHeadWidth(headWidth, tuning);
    const tile = tuning !== 'gpu' ? undefined : attentionTile(headWidth, 'forward');
    return [
      dispatch<string, string, B>(
        tile ? tiledForwardKernel(tile, true, capped) : plainForwardKernel(true, capped),
        { q, k, v, state, o },
        attentionParams(one, tile ? 4 : 1, capacity),
        attentionGrid(one, heads, tile ? tileRows(tile) : PLAIN_ROWS, tile?.parts),
      ),
    ];
  }
  const spans = spansOf(shape, tuning);
  const group = groupOf(shape, tuning);
  const params = { ...attentionParams(one, 4, capacity), spans };
  if (spans === 1) {
    const kernel =
      group === undefined ? spanKernel(true, capped) : quadSpanKernel(group, true, FRAME, capped);
    const grid = [1, group === undefined ? heads : shape.kvHeads, tokens] as const;
    return [dispatch<string, string, B>(kernel, { q, k, v, state, o }, params, grid)];
  }
  const sums = required(scratch, 'the scratch buffer of attentionCached');
  return [
    dispatch<string, string, B>(
      group === undefined ? spanKernel(false, capped) : quadSpanKernel(group, false, FRAME, capped),
      { q, k, v, state, scratch: sums },
      params,
      [spans, group === undefined ? heads : shape.kvHeads, tokens],
    ),
    dispatch(combineKernel, { scratch: sums, state, o }, params, [heads, tokens, 1]),
  ];
}

const cacheWriteKernel = defineKernel({
  name: 'attention.cached.write',
  buffers: {
    k: read('f32'),
    v: read('f32'),
    state: read('u32'),
    kCache: write('f32'),
    vCache: write('f32'),
  },
  params: { tokens: 'u32', width: 'u32', capacity: 'u32' },
  code: `${LINEAR_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  let row = i / params.width;
  let place = state[0] + row;
  if (row >= min(params.tokens, state[1]) || place >= params.capacity) { return; }
  let into = place * params.width + i % params.width;
  kCache[into] = k[i];
  vCache[into] = v[i];
}`,
  wasm: { name: 'cacheWrite', pieces: ({ tokens }) => tokens },
});

/**
 * Copies the first state[1] rows of k and v [T, Hkv * d] to the rows from state[0] on of the caches [capacity,
 * Hkv * d]; rows past the capacity are dropped.
 */
export function cacheWrite<B>(
  buffers: { k: B; v: B; state: B; kCache: B; vCache: B },
  { tokens, width, capacity }: { tokens: number; width: number; capacity: number },
): Dispatch<B> {
  const { k, v, state, kCache, vCache } = buffers;
  return dispatch(
    cacheWriteKernel,
    { k, v, state, kCache, vCache },
    { tokens, width, capacity },
    linearGrid(Math.ceil((tokens * width) / THREADS)),
  );
}
