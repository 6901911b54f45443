import {
  column,
  deltasOf,
  elementAt,
  height,
  nextSource,
  readShape,
  readSource,
  sourceCount,
  takePiece,
  top,
  width,
} from './lib/deltas';
import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';
import { load4, store4 } from './lib/vectors';

/** Slots: dense?, sources; a, b, scales or deltas, variance; rows, columns, rank. Pieces: tiles of 4 x 256. */
export function deltaSelectVariance(slots: usize, from: u32, to: u32): void {
  const next = readSource(slots, 0);
  const variance = address(slots, next);
  readShape(slots, next + 1);
  for (let piece = from; piece < to; piece++) {
    takePiece(piece);
    for (let row: u32 = 0; row < height; row++) {
      const into = variance + (elementAt(top + row, column) << 2);
      for (let j: u32 = 0; j < width; j += 4) {
        store4(into + (j << 2), varianceOf(deltasOf(0, row) + (j << 2), width - j), width - j);
      }
    }
  }
}

/** From the deviations from source 0, so that equal deltas have variance 0 exactly. */
function varianceOf(deltas: usize, left: u32): v128 {
  const sources = sourceCount();
  const stride = nextSource();
  const shares = f32x4.splat(<f32>sources);
  const first = load4(deltas, left);
  let sum = f32x4.splat(0);
  for (let s: u32 = 1; s < sources; s++) {
    sum = f32x4.add(sum, f32x4.sub(load4(deltas + s * stride, left), first));
  }
  const mean = f32x4.div(sum, shares);
  let squares = f32x4.mul(mean, mean);
  for (let s: u32 = 1; s < sources; s++) {
    const apart = f32x4.sub(f32x4.sub(load4(deltas + s * stride, left), first), mean);
    squares = f32x4.add(squares, f32x4.mul(apart, apart));
  }
  return f32x4.div(squares, shares);
}

const BINS: u32 = 2048;
/** Elements of a piece, as of a workgroup: `THREADS * PER_THREAD` of `deltaSelect.ts`. */
const PIECE: u32 = 8192;
/** Words of `selection`: the least variance, the last index at it, how many are still to be found, digits of the index. */
const LEAST: usize = 0;
const LAST: usize = 4;
const LEFT: usize = 8;
const DIGITS: usize = 12;

/**
 * Slots: variance, selection, histogram; count, stage, shift, width. Pieces: runs of 8192 elements. Counts the digit of the
 * elements whose higher digits are those found; at the first digit also the elements that vary, behind the bins.
 */
export function deltaSelectHistogram(slots: usize, from: u32, to: u32): void {
  const variance = address(slots, 0);
  const selection = address(slots, 1);
  const histogram = address(slots, 2);
  const count = whole(slots, 3);
  const isIndex = whole(slots, 4) === 1;
  const shift = whole(slots, 5);
  const width = whole(slots, 6);
  const bins = scratch();
  memory.fill(bins, 0, (BINS + 1) * 4);
  const begin = from * PIECE;
  const end = min(to * PIECE, count);
  if (isIndex) countIndices(variance, begin, end, shift, width, selection, bins);
  else countVariances(variance, begin, end, shift, width, load<u32>(selection, LEAST), bins);
  for (let bin: u32 = 0; bin <= BINS; bin++) {
    const found = load<u32>(bins + (bin << 2));
    if (found > 0) atomic.add<u32>(histogram + (bin << 2), found);
  }
}

function countVariances(
  variance: usize,
  begin: u32,
  end: u32,
  shift: u32,
  width: u32,
  prefix: u32,
  bins: usize,
): void {
  const above = shift + width;
  const mask: u32 = (1 << width) - 1;
  let varied: u32 = 0;
  for (let i = begin; i < end; i++) {
    const bits = load<u32>(variance + (i << 2));
    varied += u32(bits !== 0);
    if (above === 32 || bits >> above === prefix >> above) increment(bins, (bits >> shift) & mask);
  }
  store<u32>(bins + (BINS << 2), varied);
}

function countIndices(
  variance: usize,
  begin: u32,
  end: u32,
  shift: u32,
  width: u32,
  selection: usize,
  bins: usize,
): void {
  const above = shift + width;
  const mask: u32 = (1 << width) - 1;
  const least = load<u32>(selection, LEAST);
  const prefix = load<u32>(selection, DIGITS);
  for (let i = begin; i < end; i++) {
    if (load<u32>(variance + (i << 2)) !== least) continue;
    const key = ~i;
    if (above === 32 || key >> above === prefix >> above) increment(bins, (key >> shift) & mask);
  }
}

function increment(bins: usize, bin: u32): void {
  store<u32>(bins + (bin << 2), load<u32>(bins + (bin << 2)) + 1);
}

/** Slots: histogram, selection; stage, shift, first, tauHigh, tauLow. One piece. Picks the digit and clears the bins. */
export function deltaSelectPick(slots: usize, _from: u32, _to: u32): void {
  const histogram = address(slots, 0);
  const selection = address(slots, 1);
  const isIndex = whole(slots, 2) === 1;
  const shift = whole(slots, 3);
  const isFirst = whole(slots, 4) === 1;
  let left = load<u32>(selection, LEFT);
  if (isFirst) {
    left = wanted(load<u32>(histogram + (BINS << 2)), whole(slots, 5), whole(slots, 6));
    store<u32>(selection, u32.MAX_VALUE, LEAST);
    store<u32>(selection, 0, LAST);
    store<u32>(selection, 0, LEFT);
  }
  if (left > 0) {
    let digit: u32 = BINS - 1;
    for (; digit > 0; digit--) {
      const here = load<u32>(histogram + (digit << 2));
      if (here >= left) break;
      left -= here;
    }
    const known = selection + (isIndex ? DIGITS : LEAST);
    const startsOver = isFirst || (isIndex && shift === FIRST_SHIFT);
    const found = (startsOver ? 0 : load<u32>(known)) | (digit << shift);
    store<u32>(known, found);
    store<u32>(selection, left, LEFT);
    if (isIndex && shift === 0) store<u32>(selection, ~found, LAST);
  }
  memory.fill(histogram, 0, (BINS + 1) * 4);
}

/** Of the digits, the highest. */
const FIRST_SHIFT: u32 = 21;

/** floor(τ n) for τ = high 2^-32 + low 2^-64. */
function wanted(n: u32, high: u32, low: u32): u32 {
  const tau = <f64>high / 4294967296.0 + <f64>low / 4294967296.0 / 4294967296.0;
  return <u32>Math.floor(tau * <f64>n);
}
