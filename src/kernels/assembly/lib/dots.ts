/**
 * The product of a few rows with weights [N, K], bound by reading them: nothing is unpacked to memory. With codes q,
 * Σ x (scale q + minimum) is scale Σ x q + minimum Σ x in every group; the sums of x are the same for all columns. Σ x q is
 * computed in whole numbers, eight products an instruction: x in units of 2^-30 of what its group reaches, finer than f32 has
 * it there, as 2^15 high + low. Neither part overflows, since the codes of a group add up to less than 2^14.
 */
import { highHalves, lowHalves, storeTransposed } from './decode';
import { halves4 } from './halves';
import * as the from './product';
import { dispatchNumber, scratch } from './scratch';
import { columnFactors, storeTile } from './tile';
import { dot, sumOf } from './vectors';

/** Values that fit, each row filled up to 32, and rows that are faster so than in panels; `matmulPieces.ts` has the same. */
const MOST_VALUES: u32 = 65_536;
const MOST_ROWS: u32 = 4;
/** Where things lie in the thread's memory: results and factors of a block of columns, what is known of x, a column's scales. */
const FACTORS: usize = 256;
const TOTALS: usize = 1024;
const UNITS: usize = TOTALS + MOST_VALUES / 4 + 64;
const SCALES: usize = UNITS + MOST_VALUES / 4 + 64;
const PLACED: usize = SCALES + MOST_VALUES / 4 + 64;
const PADDED: usize = PLACED + MOST_VALUES * 4 + 256;

/** The dispatch whose rows are in the thread's memory. */
let placed: u32 = 0;

/** Whether the product at hand is one for `dotColumns`. */
export function hasFewRows(): bool {
  const most = the.bits < 16 ? MOST_ROWS : the.bits === 16 ? 1 : 2;
  return (
    the.product === the.NT && the.iCount <= most && the.iCount * ((the.rCount + 31) & ~31) <= MOST_VALUES
  );
}

/** The columns j .. end. */
export function dotColumns(j: u32, end: u32): void {
  const room = scratch();
  if (the.bits < 16 && placed !== dispatchNumber) {
    for (let i: u32 = 0; i < the.iCount; i++) placeRow(room, i);
    placed = dispatchNumber;
  }
  for (; j < end; j += 8) {
    const columns = min(8, end - j);
    columnFactors(room + FACTORS, j, columns);
    for (let column: u32 = 0; column < columns; column++) {
      for (let i: u32 = 0; i < the.iCount; i++) {
        store<f32>(room + ((<usize>i) << 5) + ((<usize>column) << 2), dotColumn(room, i, j + column));
      }
    }
    storeTile(room, room + FACTORS, 0, j, the.iCount, columns, true);
  }
}

function dotColumn(room: usize, i: u32, j: u32): f32 {
  const row = the.right + the.rightPitch * j;
  const left = the.left + the.leftPitch * i;
  if (the.bits === 32) return dot(left, row, the.rCount);
  if (the.bits === 16) return dotHalves(left, row, the.rCount);
  const groups = groupsOfRow();
  const facts = room + <usize>(i * groups) * 4;
  const x = room + PLACED + rowBytes() * i;
  const minima = readPairs(facts + TOTALS, the.pairs + the.pairPitch * j, groups);
  const codes =
    the.bits === 4 ? dotNibbles(x, facts + SCALES, row, groups) : dotBytes(x, facts + SCALES, row, groups);
  return sumOf(f32x4.add(codes, minima));
}

function rowBytes(): usize {
  return (((<usize>the.rCount) << 2) + 127) & ~127;
}

function groupsOfRow(): u32 {
  return (the.rCount + the.group - 1) / the.group;
}

/** x as the loops over codes read it, filled up with zeros to 32; and of every group its sum and the unit of its numbers. */
function placeRow(room: usize, i: u32): void {
  const padded = room + PADDED;
  const placed = room + PLACED + rowBytes() * i;
  const facts = room + TOTALS + <usize>(i * groupsOfRow()) * 4;
  const bytes = (<usize>the.rCount) << 2;
  const end = rowBytes();
  memory.copy(padded, the.left + the.leftPitch * i, bytes);
  for (let at = bytes; at < end; at += 4) store<f32>(padded + at, 0);
  const groupBytes = (<usize>the.group) << 2;
  for (let group: usize = 0; group < groupsOfRow(); group++) {
    const from = padded + group * groupBytes;
    let sum = f32x4.splat(0);
    let most = f32x4.splat(0);
    for (let at: usize = 0; at < groupBytes; at += 16) {
      sum = f32x4.add(sum, v128.load(from + at));
      most = f32x4.max(most, f32x4.abs(v128.load(from + at)));
    }
    store<f32>(facts + (group << 2), sumOf(sum));
    store<f32>(facts + (UNITS - TOTALS) + (group << 2), toUnits(from, groupBytes, greatestOf(most)));
  }
  for (let at: usize = 0; at < end; at += 128) {
    if (the.bits === 4) placeNibbles(padded + at, placed + at);
    else {
      placeBytes(padded + at, placed + at);
      placeBytes(padded + at + 64, placed + at + 64);
    }
  }
}

function greatestOf(lanes: v128): f32 {
  const a = max(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1));
  return max(a, max(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)));
}

/** Makes whole numbers below 2^30 of a group; returns their unit, a power of two, or NaN where not all are finite. */
function toUnits(from: usize, bytes: usize, most: f32): f32 {
  const exponent = reinterpret<u32>(most) >>> 23;
  const finite = exponent < 255;
  const scale: u32 = finite ? min(283 - exponent, 253) : 0;
  const factors = f32x4.splat(reinterpret<f32>(scale << 23));
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(from + at, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.load(from + at), factors)));
  }
  return finite ? reinterpret<f32>((254 - scale) << 23) : f32.NaN;
}

/** 32 numbers: of every fourth, which meet the same place of a 16-bit word, the high parts and the low parts. */
function placeNibbles(from: usize, to: usize): void {
  storeTransposed(v128.load(from), v128.load(from, 16), v128.load(from, 32), v128.load(from, 48), to, 32);
  storeTransposed(
    v128.load(from, 64),
    v128.load(from, 80),
    v128.load(from, 96),
    v128.load(from, 112),
    to + 16,
    32,
  );
  for (const end = to + 128; to < end; to += 32) splitParts(v128.load(to), v128.load(to, 16), to);
}

/** 16 numbers, as before of every second. */
function placeBytes(from: usize, to: usize): void {
  const a = v128.load(from);
  const b = v128.load(from, 16);
  const c = v128.load(from, 32);
  const d = v128.load(from, 48);
  splitParts(i32x4.shuffle(a, b, 0, 2, 4, 6), i32x4.shuffle(c, d, 0, 2, 4, 6), to);
  splitParts(i32x4.shuffle(a, b, 1, 3, 5, 7), i32x4.shuffle(c, d, 1, 3, 5, 7), to + 32);
}

function splitParts(first: v128, second: v128, to: usize): void {
  const low = i32x4.splat(0x7fff);
  v128.store(to, i16x8.narrow_i32x4_s(i32x4.shr_s(first, 15), i32x4.shr_s(second, 15)));
  v128.store(to, i16x8.narrow_i32x4_s(v128.and(first, low), v128.and(second, low)), 16);
}

/** `at` the totals of a row: the scales of a column times its units to memory, a zero behind; returns what minima add. */
function readPairs(at: usize, pairs: usize, groups: u32): v128 {
  const end = at + ((<usize>groups) << 2);
  const whole = at + ((<usize>(groups & ~3)) << 2);
  let sum = f32x4.splat(0);
  while (at < whole) {
    let scales: v128;
    let minima: v128;
    if (the.widePairs) {
      const first = v128.load(pairs);
      const second = v128.load(pairs, 16);
      scales = i32x4.shuffle(first, second, 0, 2, 4, 6);
      minima = i32x4.shuffle(first, second, 1, 3, 5, 7);
      pairs += 32;
    } else {
      const words = v128.load(pairs);
      scales = lowHalves(words);
      minima = highHalves(words);
      pairs += 16;
    }
    v128.store(at + (SCALES - TOTALS), f32x4.mul(scales, v128.load(at + (UNITS - TOTALS))));
    sum = f32x4.add(sum, f32x4.mul(minima, v128.load(at)));
    at += 16;
  }
  while (at < end) {
    const pair = the.widePairs ? v128.load64_zero(pairs) : v128.load32_zero(pairs);
    const scale = the.widePairs ? pair : lowHalves(pair);
    const minimum = the.widePairs ? i32x4.shuffle(pair, pair, 1, 2, 2, 2) : highHalves(pair);
    const unit = load<f32>(at + (UNITS - TOTALS));
    store<f32>(at + (SCALES - TOTALS), f32x4.extract_lane(scale, 0) * unit);
    sum = f32x4.add(sum, f32x4.mul(minimum, v128.load32_zero(at)));
    pairs += the.widePairs ? 8 : 4;
    at += 4;
  }
  store<f32>(at + (SCALES - TOTALS), 0);
  return sum;
}

/** Σ scale x q: 32 codes a turn, 16 bytes. */
function dotNibbles(x: usize, scales: usize, row: usize, groups: u32): v128 {
  if (the.group === 16) return dotShortGroups(x, scales, row, groups);
  let high = f32x4.splat(0);
  let low = f32x4.splat(0);
  const end = row + ((<usize>groups) << 4);
  while (row < end) {
    const words = v128.load(row);
    const scale = v128.load32_splat(scales);
    high = f32x4.add(high, f32x4.mul(f32x4.convert_i32x4_s(nibbleProducts(words, x)), scale));
    low = f32x4.add(low, f32x4.mul(f32x4.convert_i32x4_s(nibbleProducts(words, x + 16)), scale));
    scales += 4;
    row += 16;
    x += 128;
  }
  return joined(high, low);
}

/** Two groups a turn; behind an odd one are zeros of x, and a scale of zero. */
function dotShortGroups(x: usize, scales: usize, row: usize, groups: u32): v128 {
  let high = f32x4.splat(0);
  let low = f32x4.splat(0);
  const end = row + ((<usize>groups) << 3);
  while (row < end) {
    const words = end - row >= 16 ? v128.load(row) : v128.load64_zero(row);
    const both = v128.load64_zero(scales);
    const scale = i32x4.shuffle(both, both, 0, 0, 1, 1);
    high = f32x4.add(high, f32x4.mul(f32x4.convert_i32x4_s(nibbleProducts(words, x)), scale));
    low = f32x4.add(low, f32x4.mul(f32x4.convert_i32x4_s(nibbleProducts(words, x + 16)), scale));
    scales += 8;
    row += 16;
    x += 128;
  }
  return joined(high, low);
}

function joined(high: v128, low: v128): v128 {
  return f32x4.add(f32x4.mul(high, f32x4.splat(32768)), low);
}

function nibbleProducts(words: v128, x: usize): v128 {
  const mask = i16x8.splat(15);
  const a = i32x4.dot_i16x8_s(v128.and(words, mask), v128.load(x));
  const b = i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(words, 4), mask), v128.load(x, 32));
  const c = i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(words, 8), mask), v128.load(x, 64));
  const d = i32x4.dot_i16x8_s(i16x8.shr_u(words, 12), v128.load(x, 96));
  return i32x4.add(i32x4.add(a, b), i32x4.add(c, d));
}

/** Σ scale x q: a group a turn, 16 or 32 bytes. */
function dotBytes(x: usize, scales: usize, row: usize, groups: u32): v128 {
  let high = f32x4.splat(0);
  let low = f32x4.splat(0);
  const wide = the.group === 32;
  const end = scales + ((<usize>groups) << 2);
  while (scales < end) {
    let words = v128.load(row);
    let highs = byteProducts(words, x);
    let lows = byteProducts(words, x + 16);
    if (wide) {
      words = v128.load(row, 16);
      highs = i32x4.add(highs, byteProducts(words, x + 64));
      lows = i32x4.add(lows, byteProducts(words, x + 80));
    }
    const scale = v128.load32_splat(scales);
    high = f32x4.add(high, f32x4.mul(f32x4.convert_i32x4_s(highs), scale));
    low = f32x4.add(low, f32x4.mul(f32x4.convert_i32x4_s(lows), scale));
    row += the.group;
    x += (<usize>the.group) << 2;
    scales += 4;
  }
  return joined(high, low);
}

function byteProducts(words: v128, x: usize): v128 {
  const a = i32x4.dot_i16x8_s(v128.and(words, i16x8.splat(255)), v128.load(x));
  const b = i32x4.dot_i16x8_s(i16x8.shr_u(words, 8), v128.load(x, 32));
  return i32x4.add(a, b);
}

/** Eight half floats a turn, as if all were finite; where that is not so, once more with care. */
function dotHalves(x: usize, row: usize, count: u32): f32 {
  const whole = x + ((<usize>(count & ~7)) << 2);
  let most = i16x8.splat(0);
  let low = f32x4.splat(0);
  let high = f32x4.splat(0);
  let at = row;
  let other = x;
  for (; other < whole; other += 32) {
    const halves = v128.load(at);
    most = i16x8.max_s(most, v128.and(halves, i16x8.splat(0x7fff)));
    low = f32x4.add(low, f32x4.mul(finiteToFloats(i32x4.extend_low_i16x8_s(halves)), v128.load(other)));
    high = f32x4.add(
      high,
      f32x4.mul(finiteToFloats(i32x4.extend_high_i16x8_s(halves)), v128.load(other, 16)),
    );
    at += 16;
  }
  if (v128.any_true(i16x8.gt_s(most, i16x8.splat(0x7bff)))) return addHalves(0, x, row, count);
  return addHalves(sumOf(f32x4.add(low, high)), other, at, count & 7);
}

/** Half floats with their sign in the upper bits. */
function finiteToFloats(halves: v128): v128 {
  const placed = v128.and(i32x4.shl(halves, 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(placed, f32x4.splat(5.192296858534828e33));
}

function addHalves(sum: f32, x: usize, row: usize, count: u32): f32 {
  for (let one: usize = 0; one < count; one++) {
    const value = halves4(i32x4.splat(<i32>load<u16>(row + (one << 1))));
    sum += f32x4.extract_lane(value, 0) * load<f32>(x + (one << 2));
  }
  return sum;
}
