/** From packed words to f32, four at a time. */
import { halves4 } from './halves';

/** The low halves of four words. */
export function lowHalves(words: v128): v128 {
  return halves4(v128.and(words, i32x4.splat(0xffff)));
}

export function highHalves(words: v128): v128 {
  return halves4(i32x4.shr_u(words, 16));
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
