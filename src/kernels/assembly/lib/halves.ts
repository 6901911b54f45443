/** Half floats as f32. */

/**
 * Four half floats, each in the low bits of a lane. Their exponent and digits, moved to where f32 has them, make a number
 * that is 2^112 times too small; infinity and NaN get the largest exponent.
 */
export function halves4(bits: v128): v128 {
  const size = v128.and(bits, i32x4.splat(0x7fff));
  const sign = i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16);
  const grown = f32x4.mul(i32x4.shl(size, 13), i32x4.splat(0x77800000));
  const special = v128.and(i32x4.gt_s(size, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(grown, special), sign);
}

export function half1(bits: u32): f32 {
  return f32x4.extract_lane(halves4(i32x4.splat(bits)), 0);
}

/** The (scale, minimum) pair `index` in the first two lanes; `words` is 1 where it is two half floats, 2 for two f32. */
export function pairOf(pairs: usize, index: u32, words: u32): v128 {
  if (words === 2) return v128.load64_zero(pairs + ((<usize>index) << 3));
  return halves4(i32x4.extend_low_i16x8_u(v128.load32_zero(pairs + ((<usize>index) << 2))));
}
