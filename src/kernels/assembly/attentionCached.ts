/**
 * Attention of a few new rows over a cache; see `src/kernels/attentionCached.ts`. A piece takes one key head, all query
 * heads that share it, and a span of keys: keys and values are read once, in order.
 */
import { addFourRows, addFourRowsToTwo, eightProducts, fourProductsOfTwo } from './lib/fewRows';
import { exp1, exp4 } from './lib/math';
import { scaleRow } from './lib/rows';
import { LOWEST, score } from './lib/scores';
import { scratch } from './lib/scratch';
import { address, real, whole } from './lib/slots';

/** Keys whose weights are made at once. */
const BLOCK: u32 = 64;
/** Keys of a span at least, as in WGSL. */
const LEAST_SPAN: u32 = 64;

/** The parameters of a dispatch; every thread has its own instance of the module. */
let tokens: u32 = 0;
let capacity: u32 = 0;
let heads: u32 = 0;
let kvHeads: u32 = 0;
let width: u32 = 0;
let window: u32 = 0;
let scale: f32 = 0;
let cap: f32 = 0;
let spans: u32 = 0;

/** The keys that a row sees, and how many of them make a span. */
let begin: u32 = 0;
let end: u32 = 0;
let span: u32 = 0;

function readParameters(slots: usize, at: u32): void {
  tokens = whole(slots, at);
  capacity = whole(slots, at + 1);
  heads = whole(slots, at + 2);
  kvHeads = whole(slots, at + 3);
  width = whole(slots, at + 4) * 4;
  window = whole(slots, at + 5);
  scale = real(slots, at + 6);
  cap = real(slots, at + 7);
  spans = whole(slots, at + 8);
}

function readRange(state: usize, row: u32): void {
  end = row < load<u32>(state, 4) ? min(load<u32>(state) + row + 1, capacity) : 0;
  begin = window > 0 ? end - min(end, window) : 0;
  span = max(LEAST_SPAN, (end - begin + spans - 1) / spans);
}

/** Where (largest score, total) of the spans stand, behind their sums. */
function statsOf(sums: usize): usize {
  return sums + ((<usize>(tokens * heads) * spans * width) << 2);
}

/**
 * Slots: single?; q, k, v, state, o or scratch; tokens, capacity, heads, kvHeads, width in vec4, window, scale, cap, spans.
 * Pieces: spans of key heads of rows.
 */
export function attentionSpan(slots: usize, from: u32, to: u32): void {
  const single = whole(slots, 0) !== 0;
  const q = address(slots, 1);
  const k = address(slots, 2);
  const v = address(slots, 3);
  const state = address(slots, 4);
  const target = address(slots, 5);
  readParameters(slots, 6);
  const group = heads / kvHeads;
  for (let piece = from; piece < to; piece++) {
    const number = piece % spans;
    const kvHead = (piece / spans) % kvHeads;
    const row = piece / (spans * kvHeads);
    readRange(state, row);
    const first = begin + number * span;
    const last = min(first + span, end);
    if (!single && first >= last) continue;
    const head = row * heads + kvHead * group;
    const keys: usize = (<usize>(kvHead * width)) << 2;
    const into = target + ((<usize>(head * spans + number) * width) << 2);
    attend(q + ((<usize>head * width) << 2), k + keys, v + keys, into, group, first, last);
    if (single) divide(into, group);
    else putStats(statsOf(target) + ((<usize>(head * spans + number)) << 4), group);
  }
}

/** Of every head of the group: largest score, total and the factor of earlier sums; then the weights [group][BLOCK]. */
const PEAK: usize = 0;
const TOTAL: usize = 4;
const FACTOR: usize = 8;
const STATS_BYTES: usize = 16;
const WEIGHTS: usize = 4096;

/** Sums of the values of the keys first … last - 1, with weights e^(score - largest score). `into` of the heads lie `spans` rows apart. */
function attend(q: usize, k: usize, v: usize, into: usize, group: u32, first: u32, last: u32): void {
  const kept = scratch();
  const stride: usize = (<usize>(kvHeads * width)) << 2;
  const rowBytes: usize = (<usize>width) << 2;
  const step: usize = rowBytes * spans;
  for (let g: u32 = 0; g < group; g++) {
    store<f32>(kept + <usize>g * STATS_BYTES, LOWEST, PEAK);
    store<f32>(kept + <usize>g * STATS_BYTES, 0, TOTAL);
    memory.fill(into + <usize>g * step, 0, rowBytes);
  }
  for (let base = first; base < last; base += BLOCK) {
    const count = min(BLOCK, last - base);
    const at: usize = <usize>base * stride;
    blockProducts(q, k + at, group, count, stride);
    for (let g: u32 = 0; g < group; g++) {
      weigh(kept + <usize>g * STATS_BYTES, weightsOf(g), count);
      const factor = load<f32>(kept + <usize>g * STATS_BYTES, FACTOR);
      if (factor !== 1) scaleRow(into + <usize>g * step, width, factor);
    }
    blockSums(v + at, into, step, group, count, stride);
  }
}

function weightsOf(head: u32): usize {
  return scratch() + WEIGHTS + ((<usize>head * BLOCK) << 2);
}

/** The products of the queries with `count` keys, two queries at a time; up to seven more repeat the last. */
function blockProducts(q: usize, k: usize, group: u32, count: u32, stride: usize): void {
  const rowBytes: usize = (<usize>width) << 2;
  const last = count - 1;
  const pairs = group & ~1;
  for (let n: u32 = 0; n < count; n += 8) {
    const at: usize = (<usize>n) << 2;
    for (let g: u32 = 0; g < pairs; g += 2) {
      const one = q + <usize>g * rowBytes;
      const other = one + rowBytes;
      const into = weightsOf(g) + at;
      const next = weightsOf(g + 1) + at;
      fourProductsOfTwo(one, other, k, stride, n, last, width, into, next);
      fourProductsOfTwo(one, other, k, stride, n + 4, last, width, into + 16, next + 16);
    }
    if (pairs < group) {
      eightProducts(q + <usize>pairs * rowBytes, k, stride, n, last, width, weightsOf(pairs) + at);
    }
  }
}

/** Products become weights e^(score - largest score so far), those from `count` on 0. */
function weigh(stats: usize, weights: usize, count: u32): void {
  const before = load<f32>(stats, PEAK);
  const vectors = (count + 3) & ~3;
  let peaks = f32x4.splat(before);
  for (let n: u32 = 0; n < vectors; n += 4) {
    const at: usize = weights + ((<usize>n) << 2);
    const inside = i32x4.lt_u(i32x4.add(i32x4.splat(n), i32x4(0, 1, 2, 3)), i32x4.splat(count));
    const scored = v128.bitselect(score(v128.load(at), scale, cap), f32x4.splat(LOWEST), inside);
    v128.store(at, scored);
    peaks = f32x4.max(peaks, scored);
  }
  peaks = f32x4.max(peaks, v128.shuffle<f32>(peaks, peaks, 2, 3, 0, 1));
  peaks = f32x4.max(peaks, v128.shuffle<f32>(peaks, peaks, 1, 0, 3, 2));
  const peak = f32x4.extract_lane(peaks, 0);
  let totals = f32x4.splat(0);
  for (let n: u32 = 0; n < vectors; n += 4) {
    const at: usize = weights + ((<usize>n) << 2);
    const weight = exp4(f32x4.sub(v128.load(at), peaks));
    v128.store(at, weight);
    totals = f32x4.add(totals, weight);
  }
  const total =
    f32x4.extract_lane(totals, 0) +
    f32x4.extract_lane(totals, 1) +
    (f32x4.extract_lane(totals, 2) + f32x4.extract_lane(totals, 3));
  const factor = exp1(before - peak);
  store<f32>(stats, peak, PEAK);
  store<f32>(stats, load<f32>(stats, TOTAL) * factor + total, TOTAL);
  store<f32>(stats, factor, FACTOR);
}

function blockSums(v: usize, into: usize, step: usize, group: u32, count: u32, stride: usize): void {
  const last = count - 1;
  const pairs = group & ~1;
  for (let n: u32 = 0; n < count; n += 4) {
    const at: usize = (<usize>n) << 2;
    for (let g: u32 = 0; g < pairs; g += 2) {
      const one = into + <usize>g * step;
      addFourRowsToTwo(one, one + step, v, stride, n, last, width, weightsOf(g) + at, weightsOf(g + 1) + at);
    }
    if (pairs < group) {
      addFourRows(into + <usize>pairs * step, v, stride, n, last, width, weightsOf(pairs) + at);
    }
  }
}

/** One span held all keys: its sums become the output. */
function divide(into: usize, group: u32): void {
  const kept = scratch();
  for (let g: u32 = 0; g < group; g++) {
    const total = load<f32>(kept + <usize>g * STATS_BYTES, TOTAL);
    scaleRow(into + ((<usize>(g * width)) << 2), width, total === 0 ? 0 : 1 / total);
  }
}

function putStats(stats: usize, group: u32): void {
  const kept = scratch();
  for (let g: u32 = 0; g < group; g++) {
    const at: usize = stats + ((<usize>(g * spans)) << 4);
    store<f32>(at, load<f32>(kept + <usize>g * STATS_BYTES, PEAK));
    store<f32>(at, load<f32>(kept + <usize>g * STATS_BYTES, TOTAL), 4);
  }
}

/** Slots: scratch, state, o; tokens, capacity, heads, kvHeads, width in vec4, window, scale, cap, spans. Pieces: heads of rows. */
export function attentionCombine(slots: usize, from: u32, to: u32): void {
  const sums = address(slots, 0);
  const state = address(slots, 1);
  const o = address(slots, 2);
  readParameters(slots, 3);
  for (let head = from; head < to; head++) {
    readRange(state, head / heads);
    const used = (end - begin + span - 1) / span;
    const stats = statsOf(sums) + ((<usize>(head * spans)) << 4);
    combine(sums + ((<usize>(head * spans) * width) << 2), stats, used, o + ((<usize>head * width) << 2));
  }
}

function combine(sums: usize, stats: usize, used: u32, into: usize): void {
  let top = LOWEST;
  for (let n: u32 = 0; n < used; n++) top = max<f32>(top, load<f32>(stats + ((<usize>n) << 4)));
  let total: f32 = 0;
  for (let n: u32 = 0; n < used; n++) {
    const at: usize = stats + ((<usize>n) << 4);
    total += exp1(load<f32>(at) - top) * load<f32>(at, 4);
  }
  const share: f32 = total === 0 ? 0 : 1 / total;
  for (let c: u32 = 0; c < width; c += 4) {
    let sum = f32x4.splat(0);
    for (let n: u32 = 0; n < used; n++) {
      const factor = exp4(f32x4.sub(v128.load32_splat(stats + ((<usize>n) << 4)), f32x4.splat(top)));
      sum = f32x4.add(sum, f32x4.mul(v128.load(sums + ((<usize>(n * width + c)) << 2)), factor));
    }
    v128.store(into + ((<usize>c) << 2), f32x4.mul(sum, f32x4.splat(share)));
  }
}

/** Slots: k, v, state, kCache, vCache; tokens, width, capacity. Pieces: rows. */
export function cacheWrite(slots: usize, from: u32, to: u32): void {
  const k = address(slots, 0);
  const v = address(slots, 1);
  const state = address(slots, 2);
  const kCache = address(slots, 3);
  const vCache = address(slots, 4);
  const bytes: usize = (<usize>whole(slots, 6)) << 2;
  const last = min(to, load<u32>(state, 4));
  for (let row = from; row < last; row++) {
    const place = load<u32>(state) + row;
    if (place >= whole(slots, 7)) return;
    memory.copy(kCache + <usize>place * bytes, k + <usize>row * bytes, bytes);
    memory.copy(vCache + <usize>place * bytes, v + <usize>row * bytes, bytes);
  }
}
