/** From packed words to f32, four at a time. */

/** Half floats in the low halves of four words; what is above them must be zero. */
export function halvesToFloats(halves: v128): v128 {
  const magnitude = v128.and(halves, i32x4.splat(0x7fff));
  const sign = i32x4.shl(v128.xor(halves, magnitude), 16);
  // Moves the exponent's bias from 15 to 127; exact for numbers below the normal ones, too.
  const scaled = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(5.192296858534828e33));
  const beyond = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(scaled, beyond), sign);
}

/** The low halves of four words. */
export function lowHalves(words: v128): v128 {
  return halvesToFloats(v128.and(words, i32x4.splat(0xffff)));
}

export function highHalves(words: v128): v128 {
  return halvesToFloats(i32x4.shr_u(words, 16));
}

/** Four words, one of every row. */
export function gather(row0: usize, row1: usize, row2: usize, row3: usize): v128 {
  let words = v128.load32_zero(row0);
  words = v128.load32_lane(row1, words, 1);
  words = v128.load32_lane(row2, words, 2);
  return v128.load32_lane(row3, words, 3);
}

/** Lane c of the four rows to `to + c pitch`. */
export function storeTransposed(
  row0: v128,
  row1: v128,
  row2: v128,
  row3: v128,
  to: usize,
  pitch: usize,
): void {
  const upper = i32x4.shuffle(row0, row1, 0, 4, 1, 5);
  const lower = i32x4.shuffle(row2, row3, 0, 4, 1, 5);
  v128.store(to, i64x2.shuffle(upper, lower, 0, 2));
  v128.store(to + pitch, i64x2.shuffle(upper, lower, 1, 3));
  const upperEnd = i32x4.shuffle(row0, row1, 2, 6, 3, 7);
  const lowerEnd = i32x4.shuffle(row2, row3, 2, 6, 3, 7);
  v128.store(to + 2 * pitch, i64x2.shuffle(upperEnd, lowerEnd, 0, 2));
  v128.store(to + 3 * pitch, i64x2.shuffle(upperEnd, lowerEnd, 1, 3));
}
