/**
 * The right operand in panels: strips of 8 columns j, of each the values of all r in turn. Whatever the format, it is decoded
 * on the way, so that the loop over a panel knows of f32 alone. The left operand of TN is packed alike.
 */
import { gather, highHalves, lowHalves, storeTransposed } from './decode';
import { halves4 } from './halves';
import { FOUR_BYTES, STEP_BYTES } from './multiply';
import * as the from './product';

/** Steps of a panel at most: a strip of them stays in the first cache while many rows pass. */
export const DEPTH: u32 = 384;
/** Bytes of a strip; a little more than its steps, as strides of a power of two fall on the same lines of a cache. */
export const STRIP_BYTES: usize = <usize>DEPTH * STEP_BYTES + 64;
/** The same for four rows of the left operand. */
export const FOURS_BYTES: usize = <usize>DEPTH * FOUR_BYTES + 64;

/** Columns j .. j + columns (j a multiple of 8), steps r .. r + depth (r a multiple of 32). */
export function packRight(into: usize, j: u32, columns: u32, r: u32, depth: u32): void {
  if (the.product === the.NT) {
    for (let column: u32 = 0; column < columns; column += 8) {
      packColumns(into, j + column, r, depth);
      packColumns(into + 16, j + column + 4, r, depth);
      into += STRIP_BYTES;
    }
    return;
  }
  for (let step: u32 = 0; step < depth; step++) {
    packRow(into, j, columns, r + step);
    into += STEP_BYTES;
  }
}

/** Four columns of a strip, each a row in memory. Past the last column that one is read again. */
function packColumns(into: usize, j: u32, r: u32, depth: u32): void {
  const last = the.jCount - 1;
  const j0 = min(j, last);
  const j1 = min(j + 1, last);
  const j2 = min(j + 2, last);
  const j3 = min(j + 3, last);
  const from = the.right + <usize>(r >>> 3) * the.bits;
  const row0 = from + the.rightPitch * j0;
  const row1 = from + the.rightPitch * j1;
  const row2 = from + the.rightPitch * j2;
  const row3 = from + the.rightPitch * j3;
  if (the.bits === 32) packFloats(into, row0, row1, row2, row3, depth);
  else if (the.bits === 16) packHalves(into, row0, row1, row2, row3, depth);
  else {
    const pairs = the.pairs + ((<usize>(r / the.group)) << (the.widePairs ? 3 : 2));
    const pair0 = pairs + the.pairPitch * j0;
    const pair1 = pairs + the.pairPitch * j1;
    const pair2 = pairs + the.pairPitch * j2;
    const pair3 = pairs + the.pairPitch * j3;
    packCodes(into, row0, row1, row2, row3, pair0, pair1, pair2, pair3, depth);
  }
}

function packFloats(into: usize, row0: usize, row1: usize, row2: usize, row3: usize, depth: u32): void {
  const whole = depth & ~3;
  let step: u32 = 0;
  for (; step < whole; step += 4) {
    const at: usize = step << 2;
    const to = into + <usize>step * STEP_BYTES;
    storeTransposed(
      v128.load(row0 + at),
      v128.load(row1 + at),
      v128.load(row2 + at),
      v128.load(row3 + at),
      to,
      STEP_BYTES,
    );
  }
  for (; step < depth; step++) {
    const at: usize = step << 2;
    v128.store(into + <usize>step * STEP_BYTES, gather(row0 + at, row1 + at, row2 + at, row3 + at));
  }
}

/** Rows end on whole words. */
function packHalves(into: usize, row0: usize, row1: usize, row2: usize, row3: usize, depth: u32): void {
  for (let step: u32 = 0; step < depth; step += 2) {
    const at: usize = step << 1;
    const words = gather(row0 + at, row1 + at, row2 + at, row3 + at);
    v128.store(into + <usize>step * STEP_BYTES, lowHalves(words));
    v128.store(into + <usize>step * STEP_BYTES, highHalves(words), 32);
  }
}

/** Rows end on whole groups. */
function packCodes(
  into: usize,
  row0: usize,
  row1: usize,
  row2: usize,
  row3: usize,
  pair0: usize,
  pair1: usize,
  pair2: usize,
  pair3: usize,
  depth: u32,
): void {
  const groupBytes: usize = (the.group * the.bits) >>> 3;
  for (let step: u32 = 0; step < depth; step += the.group) {
    let scales: v128;
    let minima: v128;
    let pairBytes: usize = 4;
    if (the.widePairs) {
      scales = gather(pair0, pair1, pair2, pair3);
      minima = gather(pair0 + 4, pair1 + 4, pair2 + 4, pair3 + 4);
      pairBytes = 8;
    } else {
      const words = gather(pair0, pair1, pair2, pair3);
      scales = lowHalves(words);
      minima = highHalves(words);
    }
    for (let at: usize = 0; at < groupBytes; at += 4) {
      const words = gather(row0 + at, row1 + at, row2 + at, row3 + at);
      if (the.bits === 4) into = spreadNibbles(into, words, scales, minima);
      else into = spreadBytes(into, words, scales, minima);
    }
    row0 += groupBytes;
    row1 += groupBytes;
    row2 += groupBytes;
    row3 += groupBytes;
    pair0 += pairBytes;
    pair1 += pairBytes;
    pair2 += pairBytes;
    pair3 += pairBytes;
  }
}

function affine(codes: v128, scales: v128, minima: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(codes), scales), minima);
}

/** Eight steps of four columns, from a word of each. */
function spreadNibbles(into: usize, words: v128, scales: v128, minima: v128): usize {
  const mask = i32x4.splat(15);
  v128.store(into, affine(v128.and(words, mask), scales, minima));
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 4), mask), scales, minima), 32);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 8), mask), scales, minima), 64);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 12), mask), scales, minima), 96);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 16), mask), scales, minima), 128);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 20), mask), scales, minima), 160);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 24), mask), scales, minima), 192);
  v128.store(into, affine(i32x4.shr_u(words, 28), scales, minima), 224);
  return into + 8 * STEP_BYTES;
}

function spreadBytes(into: usize, words: v128, scales: v128, minima: v128): usize {
  const mask = i32x4.splat(255);
  v128.store(into, affine(v128.and(words, mask), scales, minima));
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 8), mask), scales, minima), 32);
  v128.store(into, affine(v128.and(i32x4.shr_u(words, 16), mask), scales, minima), 64);
  v128.store(into, affine(i32x4.shr_u(words, 24), scales, minima), 96);
  return into + 4 * STEP_BYTES;
}

/** One step of all strips: a row in memory, from column j on. */
function packRow(into: usize, j: u32, columns: u32, r: u32): void {
  const row = the.right + the.rightPitch * r + ((<usize>j * the.bits) >>> 3);
  const factor: f32 = the.product === the.NN ? the.factorOf(r) : 1;
  if (the.bits === 32) copyFloats(into, row, columns, factor);
  else if (the.bits === 16) copyHalves(into, row, columns, factor);
  else copyCodes(into, row, the.pairs + the.pairPitch * r, j, columns, factor);
}

function copyFloats(into: usize, row: usize, columns: u32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const whole = columns & ~7;
  for (let column: u32 = 0; column < whole; column += 8) {
    v128.store(into, f32x4.mul(v128.load(row), factors));
    v128.store(into, f32x4.mul(v128.load(row, 16), factors), 16);
    row += 32;
    into += STRIP_BYTES;
  }
  for (let column = whole; column < columns; column++) {
    store<f32>(into, load<f32>(row) * factor);
    row += 4;
    into += 4;
  }
}

function copyHalves(into: usize, row: usize, columns: u32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const whole = columns & ~7;
  for (let column: u32 = 0; column < whole; column += 8) {
    const halves = v128.load(row);
    v128.store(into, f32x4.mul(halves4(i32x4.extend_low_i16x8_u(halves)), factors));
    v128.store(into, f32x4.mul(halves4(i32x4.extend_high_i16x8_u(halves)), factors), 16);
    row += 16;
    into += STRIP_BYTES;
  }
  for (let column = whole; column < columns; column++) {
    const value = halves4(i32x4.splat(<i32>load<u16>(row)));
    store<f32>(into, f32x4.extract_lane(value, 0) * factor);
    row += 2;
    into += 4;
  }
}

/** Rows end on whole groups, and a strip lies within one. */
function copyCodes(into: usize, row: usize, pairs: usize, j: u32, columns: u32, factor: f32): void {
  const factors = f32x4.splat(factor);
  // The code of every lane stays where it is in the word: its scale takes care of that.
  const places = i32x4(0x0f, 0xf0, 0xf00, 0xf000);
  const shifts = f32x4(1, 0.0625, 0.00390625, 0.000244140625);
  const pairShift: usize = the.widePairs ? 3 : 2;
  for (let column: u32 = 0; column < columns; column += 8) {
    const pair = pairs + ((<usize>((j + column) / the.group)) << pairShift);
    let scales: v128;
    let minima: v128;
    if (the.widePairs) {
      scales = v128.load32_splat(pair);
      minima = v128.load32_splat(pair, 4);
    } else {
      const word = v128.load32_splat(pair);
      scales = lowHalves(word);
      minima = highHalves(word);
    }
    scales = f32x4.mul(scales, factors);
    minima = f32x4.mul(minima, factors);
    if (the.bits === 4) {
      const word = v128.load32_splat(row);
      scales = f32x4.mul(scales, shifts);
      v128.store(into, affine(v128.and(word, places), scales, minima));
      v128.store(into, affine(v128.and(i32x4.shr_u(word, 16), places), scales, minima), 16);
    } else {
      const codes = i16x8.extend_low_i8x16_u(v128.load64_zero(row));
      v128.store(into, affine(i32x4.extend_low_i16x8_u(codes), scales, minima));
      v128.store(into, affine(i32x4.extend_high_i16x8_u(codes), scales, minima), 16);
    }
    row += the.bits;
    into += STRIP_BYTES;
  }
}

/** The left operand of TN, whose rows are along i: i .. i + rows in fours, of each the steps r .. r + depth in turn. */
export function packLeft(into: usize, i: u32, rows: u32, r: u32, depth: u32): void {
  let row = the.left + the.leftPitch * r + ((<usize>i) << 2);
  const whole = (<usize>(rows & ~3)) << 2;
  const bytes = (<usize>rows) << 2;
  for (const end = into + <usize>depth * FOUR_BYTES; into < end; into += FOUR_BYTES) {
    let to = into;
    let at: usize = 0;
    for (; at < whole; at += 16) {
      v128.store(to, v128.load(row + at));
      to += FOURS_BYTES;
    }
    for (; at < bytes; at += 4) {
      store<f32>(to, load<f32>(row + at));
      to += 4;
    }
    row += the.leftPitch;
  }
}
