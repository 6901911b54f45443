import { exp1, exp4, softCap1, softCapSlope4, tanhExp, tanhSlopeWith, tanhWith } from './lib/math';
import { scratch } from './lib/scratch';
import { address, real, whole } from './lib/slots';
import { CAPPED, rowPeak, sumOfExp } from './lib/softmax';
import { load4, store4 } from './lib/vectors';

const NO_TEACHER: u32 = 0;
const TAIL: u32 = 2;

/** Logits that a piece of the gradient covers: `SEGMENT` of `headLoss.ts`. */
const SEGMENT: u32 = 4096;

/**
 * Slots: mode (0 no teacher, 1 sparse, 2 tail); logits, labels, (teacherIds, teacherProbs, teacherCounts), losses, stats;
 * rowStart, vocabulary, kept, cap, ratioLimit. Pieces: rows of the chunk.
 */
export function headLossStats(slots: usize, from: u32, to: u32): void {
  const mode = whole(slots, 0);
  const logits = address(slots, 1);
  const labels = address(slots, 2);
  const more: u32 = mode === NO_TEACHER ? 0 : 3;
  const losses = address(slots, 3 + more);
  const stats = address(slots, 4 + more);
  const rowStart = whole(slots, 5 + more);
  const vocabulary = whole(slots, 6 + more);
  const kept = whole(slots, 7 + more);
  const cap = real(slots, 8 + more);
  const ratioLimit = real(slots, 9 + more);
  for (let row = from; row < to; row++) {
    const r = rowStart + row;
    const z: usize = logits + <usize>row * vocabulary * 4;
    const label = load<i32>(labels + (r << 2));
    const into = stats + (r << 4);
    const loss = losses + (r << 3);
    const top = softCap1(rowPeak(z, vocabulary), cap);
    let logTotal: f32;
    if (mode === NO_TEACHER) {
      logTotal = Mathf.log(sumOfExp(z, vocabulary, top, cap));
      memory.fill(into, 0, 16);
      store<f32>(loss, 0, 4);
    } else {
      const at: usize = <usize>r * kept * 4;
      const ids = address(slots, 3) + at;
      const probs = address(slots, 4) + at;
      const count = min(load<u32>(address(slots, 5) + (r << 2)), kept);
      const rest = mode === TAIL ? sumOutside(z, vocabulary, ids, count, top, cap) : 0;
      const total: f32 =
        mode === TAIL
          ? rest + sumOfKept(z, vocabulary, ids, count, top, cap)
          : sumOfExp(z, vocabulary, top, cap);
      logTotal = Mathf.log(total);
      const share: f32 = mode === TAIL ? rest / total : -1;
      const kd = distil(z, vocabulary, ids, probs, count, top, logTotal, cap, share, ratioLimit, into);
      store<f32>(loss, count > 0 ? kd : 0, 4);
      store<f32>(into, isKept(ids, count, vocabulary, label) ? 1 : 0, 12);
    }
    const labelled = label >= 0 && <u32>label < vocabulary;
    store<f32>(loss, labelled ? top - softCap1(load<f32>(z + (label << 2)), cap) + logTotal : 0);
    store<f32>(into, top + logTotal);
  }
}

/** KD of a row; writes S and the quotient to `stats`. @param share probability outside the kept ids, below 0 for 'sparse' */
function distil(
  z: usize,
  vocabulary: u32,
  ids: usize,
  probs: usize,
  count: u32,
  top: f32,
  logTotal: f32,
  cap: f32,
  share: f32,
  ratioLimit: f32,
  stats: usize,
): f32 {
  let mass: f32 = 0;
  let kd: f32 = 0;
  for (let e: u32 = 0; e < count; e++) {
    const id = load<u32>(ids + (e << 2));
    if (id >= vocabulary) continue;
    const probability = load<f32>(probs + (e << 2));
    mass += probability;
    kd += probability * (top - softCap1(load<f32>(z + (id << 2)), cap) + logTotal);
  }
  let ratio: f32 = 0;
  if (!(share < 0)) {
    const missing = max<f32>(0, 1 - mass);
    const outside = max<f32>(share, 1e-6);
    mass += missing;
    kd -= missing * Mathf.log(outside);
    ratio = min(missing / outside, ratioLimit);
  }
  store<f32>(stats, mass, 4);
  store<f32>(stats, ratio, 8);
  return kd;
}

function isKept(ids: usize, count: u32, vocabulary: u32, label: i32): bool {
  if (label < 0 || <u32>label >= vocabulary) return false;
  for (let e: u32 = 0; e < count; e++) {
    if (load<i32>(ids + (e << 2)) === label) return true;
  }
  return false;
}

/** Σ exp(y − top) over the kept ids. */
function sumOfKept(z: usize, vocabulary: u32, ids: usize, count: u32, top: f32, cap: f32): f32 {
  let sum: f32 = 0;
  for (let e: u32 = 0; e < count; e++) {
    const id = load<u32>(ids + (e << 2));
    if (id < vocabulary) sum += exp1(softCap1(load<f32>(z + (id << 2)), cap) - top);
  }
  return sum;
}

/** Σ exp(y − top) over the ids between the kept ones. */
function sumOutside(z: usize, vocabulary: u32, ids: usize, count: u32, top: f32, cap: f32): f32 {
  const sorted = sort(ids, count);
  let sum: f32 = 0;
  let begin: u32 = 0;
  for (let e: u32 = 0; e <= count; e++) {
    const end = e < count ? min(load<u32>(sorted + (e << 2)), vocabulary) : vocabulary;
    if (end > begin) sum += sumOfExp(z + (begin << 2), end - begin, top, cap);
    begin = min(end + 1, vocabulary);
  }
  return sum;
}

/** The ids in rising order, in scratch. */
function sort(ids: usize, count: u32): usize {
  const sorted = scratch();
  for (let e: u32 = 0; e < count; e++) {
    const id = load<u32>(ids + (e << 2));
    let place = e;
    for (; place > 0; place--) {
      const before = load<u32>(sorted + ((place - 1) << 2));
      if (before <= id) break;
      store<u32>(sorted + (place << 2), before);
    }
    store<u32>(sorted + (place << 2), id);
  }
  return sorted;
}

/**
 * Slots: mode; logits, labels, weights, stats, (teacherIds, teacherProbs, teacherCounts); rowStart, vocabulary, kept, cap.
 * Pieces: rows x segments of 4096 logits.
 */
export function headLossGradient(slots: usize, from: u32, to: u32): void {
  const mode = whole(slots, 0);
  const logits = address(slots, 1);
  const labels = address(slots, 2);
  const weights = address(slots, 3);
  const stats = address(slots, 4);
  const more: u32 = mode === NO_TEACHER ? 0 : 3;
  const rowStart = whole(slots, 5 + more);
  const vocabulary = whole(slots, 6 + more);
  const kept = whole(slots, 7 + more);
  const cap = real(slots, 8 + more);
  const segments = (vocabulary + SEGMENT - 1) / SEGMENT;
  for (let piece = from; piece < to; piece++) {
    const row = piece / segments;
    const begin = (piece % segments) * SEGMENT;
    const end = min(begin + SEGMENT, vocabulary);
    const r = rowStart + row;
    const z: usize = logits + <usize>row * vocabulary * 4;
    const label = load<i32>(labels + (r << 2));
    const labelled = label >= 0 && <u32>label < vocabulary;
    const count: u32 = mode === NO_TEACHER ? 0 : min(load<u32>(address(slots, 7) + (r << 2)), kept);
    const ce: f32 = labelled ? load<f32>(weights + (r << 3)) : 0;
    const kd: f32 = count > 0 ? load<f32>(weights + (r << 3), 4) : 0;
    if (ce === 0 && kd === 0) {
      memory.fill(z + (begin << 2), 0, (end - begin) << 2);
      continue;
    }
    const saved = stats + (r << 4);
    const lse = load<f32>(saved);
    const mass = load<f32>(saved, 4);
    const onKept: f32 = ce + kd * mass;
    const elsewhere: f32 = ce + kd * (mass - load<f32>(saved, 8));
    const at: usize = <usize>r * kept * 4;
    const ids = address(slots, 5) + at;
    const probs = address(slots, 6) + at;
    const corrected = scratch();
    // The logits that are needed below are overwritten first.
    for (let e: u32 = 0; e < count; e++) {
      const id = load<u32>(ids + (e << 2));
      if (id < begin || id >= end) continue;
      const pushed: f32 = kd * load<f32>(probs + (e << 2)) + (labelled && id === <u32>label ? ce : 0);
      store<f32>(corrected + (e << 2), pulled(load<f32>(z + (id << 2)), lse, onKept, pushed, cap));
    }
    const labelHere = labelled && <u32>label >= begin && <u32>label < end && load<f32>(saved, 12) === 0;
    const atLabel = labelHere ? pulled(load<f32>(z + (label << 2)), lse, elsewhere, ce, cap) : 0;
    spread(z + (begin << 2), end - begin, lse, elsewhere, cap);
    for (let e: u32 = 0; e < count; e++) {
      const id = load<u32>(ids + (e << 2));
      if (id >= begin && id < end) store<f32>(z + (id << 2), load<f32>(corrected + (e << 2)));
    }
    if (labelHere) store<f32>(z + (label << 2), atLabel);
  }
}

/** The gradient at one logit: (coefficient Q − pushed), times the slope of the cap. */
function pulled(z: f32, lse: f32, coefficient: f32, pushed: f32, cap: f32): f32 {
  const value: f32 = coefficient * exp1(softCap1(z, cap) - lse) - pushed;
  return cap > 0 ? value * f32x4.extract_lane(softCapSlope4(f32x4.splat(z), cap), 0) : value;
}

/** z becomes coefficient Q, times the slope of the cap. */
function spread(z: usize, count: u32, lse: f32, coefficient: f32, cap: f32): void {
  if (cap > 0) spreadCapped(z, count, lse, coefficient, cap);
  else spreadPlain(z, count, lse, coefficient);
}

function spreadPlain(z: usize, count: u32, lse: f32, coefficient: f32): void {
  const totals = f32x4.splat(lse);
  const factors = f32x4.splat(coefficient);
  for (let j: u32 = 0; j < count; j += 4) {
    const at: usize = z + (j << 2);
    store4(at, f32x4.mul(factors, exp4(f32x4.sub(load4(at, count - j), totals))), count - j);
  }
}

/** The slopes take the logits' place first: one after the other, so that what each loop needs stays in registers. */
function spreadCapped(z: usize, count: u32, lse: f32, coefficient: f32, cap: f32): void {
  const capped = scratch() + CAPPED;
  const caps = f32x4.splat(cap);
  for (let j: u32 = 0; j < count; j += 4) {
    const at: usize = j << 2;
    const x = f32x4.div(load4(z + at, count - j), caps);
    const e = tanhExp(x);
    v128.store(capped + at, f32x4.mul(caps, tanhWith(x, e)));
    store4(z + at, tanhSlopeWith(e), count - j);
  }
  const totals = f32x4.splat(lse);
  const factors = f32x4.splat(coefficient);
  for (let j: u32 = 0; j < count; j += 4) {
    const at: usize = j << 2;
    const share = exp4(f32x4.sub(v128.load(capped + at), totals));
    store4(z + at, f32x4.mul(f32x4.mul(factors, share), load4(z + at, count - j)), count - j);
  }
}
