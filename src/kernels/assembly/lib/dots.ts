/**
 * The product of one row with weights [N, K], bound by reading them: nothing is unpacked to memory. With codes,
 * Σ x (scale q + minimum) is scale Σ x q + minimum Σ x in every group, and the sums of x are the same for all columns.
 */
import { halvesToFloats, highHalves, lowHalves, storeTransposed } from './decode';
import * as the from './product';
import { scratch } from './scratch';
import { columnFactors, storeTile } from './tile';
import { dot, sumOf } from './vectors';

/** The longest row that fits; `LONGEST_ROW` of `matmulPieces.ts`. */
export const LONGEST_ROW: u32 = 65_536;
/** Where things lie in the thread's memory: results and factors of a block of columns, what is known of x, a column's scales. */
const FACTORS: usize = 256;
const TOTALS: usize = 1024;
const SCALES: usize = TOTALS + LONGEST_ROW / 4 + 64;
const PLACED: usize = SCALES + LONGEST_ROW / 4 + 64;
const PADDED: usize = PLACED + LONGEST_ROW * 4 + 256;

/** The columns j .. end. */
export function dotColumns(j: u32, end: u32): void {
  const room = scratch();
  if (the.bits < 16) placeRow(room);
  for (; j < end; j += 8) {
    const columns = min(8, end - j);
    columnFactors(room + FACTORS, j, columns);
    for (let column: u32 = 0; column < columns; column++) {
      store<f32>(room + (column << 2), dotColumn(room, j + column));
    }
    storeTile(room, room + FACTORS, 0, j, 1, columns, true);
  }
}

function dotColumn(room: usize, j: u32): f32 {
  const row = the.right + the.rightPitch * j;
  if (the.bits === 32) return dot(the.left, row, the.rCount);
  if (the.bits === 16) return dotHalves(the.left, row, the.rCount);
  const groups = groupsOfRow();
  const minima = readPairs(room, the.pairs + the.pairPitch * j, groups);
  const codes = the.bits === 4 ? dotNibbles(room, row, groups) : dotBytes(room, row, groups);
  return sumOf(f32x4.add(codes, minima));
}

function groupsOfRow(): u32 {
  return (the.rCount + the.group - 1) / the.group;
}

/**
 * Puts x in the order in which the codes of a word come to lie in the lanes, filled up with zeros to 32, and adds up its
 * groups. Codes are not shifted down but left in their place in a word, so x is made smaller by as much.
 */
function placeRow(room: usize): void {
  const padded = room + PADDED;
  const bytes = (<usize>the.rCount) << 2;
  const end = (bytes + 127) & ~127;
  memory.copy(padded, the.left, bytes);
  for (let at = bytes; at < end; at += 4) store<f32>(padded + at, 0);
  const placed = room + PLACED;
  if (the.bits === 4) {
    for (let at: usize = 0; at < end; at += 128) {
      placeNibbles(padded + at, placed + at);
      placeNibbles(padded + at + 16, placed + at + 64);
    }
  } else {
    for (let at: usize = 0; at < end; at += 64) placeBytes(padded + at, placed + at);
  }
  for (let group: u32 = 0; group < groupsOfRow(); group++) {
    const from = padded + ((<usize>group * the.group) << 2);
    let sum = f32x4.splat(0);
    for (let at: usize = 0; at < (<usize>the.group) << 2; at += 16)
      sum = f32x4.add(sum, v128.load(from + at));
    store<f32>(room + TOTALS + ((<usize>group) << 2), sumOf(sum));
  }
}

/** Lane l has values of word l of four: x[8 l], x[8 l + 1] / 16, and so on. */
function placeNibbles(from: usize, to: usize): void {
  storeTransposed(v128.load(from), v128.load(from, 32), v128.load(from, 64), v128.load(from, 96), to, 16);
  v128.store(to, f32x4.mul(v128.load(to, 16), f32x4.splat(0.0625)), 16);
  v128.store(to, f32x4.mul(v128.load(to, 32), f32x4.splat(0.00390625)), 32);
  v128.store(to, f32x4.mul(v128.load(to, 48), f32x4.splat(0.000244140625)), 48);
}

/** Lane l has values of word l of four: x[4 l], x[4 l + 1] / 256, and so on; the last is shifted down. */
function placeBytes(from: usize, to: usize): void {
  storeTransposed(v128.load(from), v128.load(from, 16), v128.load(from, 32), v128.load(from, 48), to, 16);
  v128.store(to, f32x4.mul(v128.load(to, 16), f32x4.splat(0.00390625)), 16);
  v128.store(to, f32x4.mul(v128.load(to, 32), f32x4.splat(0.0000152587890625)), 32);
}

/** The scales of a column to memory, a zero behind them; returns what its minima add. */
function readPairs(room: usize, pairs: usize, groups: u32): v128 {
  let scales = room + SCALES;
  let totals = room + TOTALS;
  const end = scales + ((<usize>groups) << 2);
  const whole = scales + ((<usize>(groups & ~3)) << 2);
  let sum = f32x4.splat(0);
  while (scales < whole) {
    if (the.widePairs) {
      const first = v128.load(pairs);
      const second = v128.load(pairs, 16);
      v128.store(scales, i32x4.shuffle(first, second, 0, 2, 4, 6));
      sum = f32x4.add(sum, f32x4.mul(i32x4.shuffle(first, second, 1, 3, 5, 7), v128.load(totals)));
      pairs += 32;
    } else {
      const words = v128.load(pairs);
      v128.store(scales, lowHalves(words));
      sum = f32x4.add(sum, f32x4.mul(highHalves(words), v128.load(totals)));
      pairs += 16;
    }
    scales += 16;
    totals += 16;
  }
  while (scales < end) {
    const pair = the.widePairs ? v128.load64_zero(pairs) : v128.load32_zero(pairs);
    const scale = the.widePairs ? pair : lowHalves(pair);
    const minimum = the.widePairs ? i32x4.shuffle(pair, pair, 1, 2, 2, 2) : highHalves(pair);
    v128.store32_lane(scales, scale, 0);
    sum = f32x4.add(sum, f32x4.mul(minimum, v128.load32_zero(totals)));
    pairs += the.widePairs ? 8 : 4;
    scales += 4;
    totals += 4;
  }
  store<f32>(scales, 0);
  return sum;
}

/** Σ scale x q: 32 codes a turn, 16 bytes. */
function dotNibbles(room: usize, row: usize, groups: u32): v128 {
  let x = room + PLACED;
  let scales = room + SCALES;
  let sum = f32x4.splat(0);
  if (the.group === 32) {
    const end = row + ((<usize>groups) << 4);
    for (; row < end; row += 16) {
      sum = f32x4.add(sum, f32x4.mul(nibbleProducts(v128.load(row), x), v128.load32_splat(scales)));
      scales += 4;
      x += 128;
    }
    return sum;
  }
  const end = row + ((<usize>(groups >>> 1)) << 4);
  for (; row < end; row += 16) {
    const both = v128.load64_zero(scales);
    const spread = i32x4.shuffle(both, both, 0, 0, 1, 1);
    sum = f32x4.add(sum, f32x4.mul(nibbleProducts(v128.load(row), x), spread));
    scales += 8;
    x += 128;
  }
  if ((groups & 1) === 0) return sum;
  const last = nibbleProducts(v128.load64_zero(row), x);
  return f32x4.add(sum, f32x4.mul(last, v128.load32_splat(scales)));
}

function nibbleProducts(words: v128, x: usize): v128 {
  const upper = i32x4.shr_u(words, 16);
  const a = f32x4.add(product(words, 0x000f, x), product(words, 0x00f0, x + 16));
  const b = f32x4.add(product(words, 0x0f00, x + 32), product(words, 0xf000, x + 48));
  const c = f32x4.add(product(upper, 0x000f, x + 64), product(upper, 0x00f0, x + 80));
  const d = f32x4.add(product(upper, 0x0f00, x + 96), product(upper, 0xf000, x + 112));
  return f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
}

function product(words: v128, place: i32, x: usize): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(v128.and(words, i32x4.splat(place))), v128.load(x));
}

/** Σ scale x q: 16 codes a turn. */
function dotBytes(room: usize, row: usize, groups: u32): v128 {
  let x = room + PLACED;
  const scales = room + SCALES;
  const turns = groups * (the.group >>> 4);
  const shift = the.group === 32 ? 1 : 0;
  let sum = f32x4.splat(0);
  for (let turn: u32 = 0; turn < turns; turn++) {
    const words = v128.load(row);
    const a = f32x4.add(product(words, 0xff, x), product(words, 0xff00, x + 16));
    const top = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(words, 24)), v128.load(x, 48));
    const b = f32x4.add(product(words, 0xff0000, x + 32), top);
    const scale = v128.load32_splat(scales + ((<usize>(turn >>> shift)) << 2));
    sum = f32x4.add(sum, f32x4.mul(f32x4.add(a, b), scale));
    row += 16;
    x += 64;
  }
  return sum;
}

function dotHalves(x: usize, row: usize, count: u32): f32 {
  const end = x + ((<usize>count) << 2);
  const whole = x + ((<usize>(count & ~7)) << 2);
  let low = f32x4.splat(0);
  let high = f32x4.splat(0);
  for (; x < whole; x += 32) {
    const halves = v128.load(row);
    low = f32x4.add(low, f32x4.mul(halvesToFloats(i32x4.extend_low_i16x8_u(halves)), v128.load(x)));
    high = f32x4.add(high, f32x4.mul(halvesToFloats(i32x4.extend_high_i16x8_u(halves)), v128.load(x, 16)));
    row += 16;
  }
  for (; x < end; x += 4) {
    const value = halvesToFloats(i32x4.splat(<i32>load<u16>(row)));
    low = f32x4.add(low, f32x4.mul(value, v128.load32_zero(x)));
    row += 2;
  }
  return sumOf(f32x4.add(low, high));
}
