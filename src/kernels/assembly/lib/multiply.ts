/**
 * The innermost loops of a matrix product. Twelve sums and what is multiplied fill the sixteen registers of x86; two steps a
 * turn leave the loop's own cost behind.
 */

/**
 * Six rows of the left operand, `pitch` bytes apart, with a strip of 8 columns: their sums over `depth` steps into `sums`
 * [6, 8]. Rows past the last of `rows` are that one again.
 */
export function multiplySix(
  row0: usize,
  pitch: usize,
  rows: u32,
  strip: usize,
  depth: u32,
  sums: usize,
): void {
  let row1 = row0 + pitch * min(1, rows - 1);
  let row2 = row0 + pitch * min(2, rows - 1);
  let row3 = row0 + pitch * min(3, rows - 1);
  let row4 = row0 + pitch * min(4, rows - 1);
  let row5 = row0 + pitch * min(5, rows - 1);
  let low0 = f32x4.splat(0);
  let high0 = f32x4.splat(0);
  let low1 = f32x4.splat(0);
  let high1 = f32x4.splat(0);
  let low2 = f32x4.splat(0);
  let high2 = f32x4.splat(0);
  let low3 = f32x4.splat(0);
  let high3 = f32x4.splat(0);
  let low4 = f32x4.splat(0);
  let high4 = f32x4.splat(0);
  let low5 = f32x4.splat(0);
  let high5 = f32x4.splat(0);
  const pairs = strip + ((<usize>(depth >>> 1)) << 6);
  while (strip < pairs) {
    const low = v128.load(strip);
    const high = v128.load(strip, 16);
    const left0 = v128.load32_splat(row0);
    low0 = f32x4.add(low0, f32x4.mul(left0, low));
    high0 = f32x4.add(high0, f32x4.mul(left0, high));
    const left1 = v128.load32_splat(row1);
    low1 = f32x4.add(low1, f32x4.mul(left1, low));
    high1 = f32x4.add(high1, f32x4.mul(left1, high));
    const left2 = v128.load32_splat(row2);
    low2 = f32x4.add(low2, f32x4.mul(left2, low));
    high2 = f32x4.add(high2, f32x4.mul(left2, high));
    const left3 = v128.load32_splat(row3);
    low3 = f32x4.add(low3, f32x4.mul(left3, low));
    high3 = f32x4.add(high3, f32x4.mul(left3, high));
    const left4 = v128.load32_splat(row4);
    low4 = f32x4.add(low4, f32x4.mul(left4, low));
    high4 = f32x4.add(high4, f32x4.mul(left4, high));
    const left5 = v128.load32_splat(row5);
    low5 = f32x4.add(low5, f32x4.mul(left5, low));
    high5 = f32x4.add(high5, f32x4.mul(left5, high));
    const nextLow = v128.load(strip, 32);
    const nextHigh = v128.load(strip, 48);
    const next0 = v128.load32_splat(row0, 4);
    low0 = f32x4.add(low0, f32x4.mul(next0, nextLow));
    high0 = f32x4.add(high0, f32x4.mul(next0, nextHigh));
    const next1 = v128.load32_splat(row1, 4);
    low1 = f32x4.add(low1, f32x4.mul(next1, nextLow));
    high1 = f32x4.add(high1, f32x4.mul(next1, nextHigh));
    const next2 = v128.load32_splat(row2, 4);
    low2 = f32x4.add(low2, f32x4.mul(next2, nextLow));
    high2 = f32x4.add(high2, f32x4.mul(next2, nextHigh));
    const next3 = v128.load32_splat(row3, 4);
    low3 = f32x4.add(low3, f32x4.mul(next3, nextLow));
    high3 = f32x4.add(high3, f32x4.mul(next3, nextHigh));
    const next4 = v128.load32_splat(row4, 4);
    low4 = f32x4.add(low4, f32x4.mul(next4, nextLow));
    high4 = f32x4.add(high4, f32x4.mul(next4, nextHigh));
    const next5 = v128.load32_splat(row5, 4);
    low5 = f32x4.add(low5, f32x4.mul(next5, nextLow));
    high5 = f32x4.add(high5, f32x4.mul(next5, nextHigh));
    row0 += 8;
    row1 += 8;
    row2 += 8;
    row3 += 8;
    row4 += 8;
    row5 += 8;
    strip += 64;
  }
  if ((depth & 1) !== 0) {
    const low = v128.load(strip);
    const high = v128.load(strip, 16);
    const left0 = v128.load32_splat(row0);
    low0 = f32x4.add(low0, f32x4.mul(left0, low));
    high0 = f32x4.add(high0, f32x4.mul(left0, high));
    const left1 = v128.load32_splat(row1);
    low1 = f32x4.add(low1, f32x4.mul(left1, low));
    high1 = f32x4.add(high1, f32x4.mul(left1, high));
    const left2 = v128.load32_splat(row2);
    low2 = f32x4.add(low2, f32x4.mul(left2, low));
    high2 = f32x4.add(high2, f32x4.mul(left2, high));
    const left3 = v128.load32_splat(row3);
    low3 = f32x4.add(low3, f32x4.mul(left3, low));
    high3 = f32x4.add(high3, f32x4.mul(left3, high));
    const left4 = v128.load32_splat(row4);
    low4 = f32x4.add(low4, f32x4.mul(left4, low));
    high4 = f32x4.add(high4, f32x4.mul(left4, high));
    const left5 = v128.load32_splat(row5);
    low5 = f32x4.add(low5, f32x4.mul(left5, low));
    high5 = f32x4.add(high5, f32x4.mul(left5, high));
  }
  v128.store(sums, low0, 0);
  v128.store(sums, high0, 16);
  v128.store(sums, low1, 32);
  v128.store(sums, high1, 48);
  v128.store(sums, low2, 64);
  v128.store(sums, high2, 80);
  v128.store(sums, low3, 96);
  v128.store(sums, high3, 112);
  v128.store(sums, low4, 128);
  v128.store(sums, high4, 144);
  v128.store(sums, low5, 160);
  v128.store(sums, high5, 176);
}

/** Four rows. */
export function multiplyFour(
  row0: usize,
  pitch: usize,
  rows: u32,
  strip: usize,
  depth: u32,
  sums: usize,
): void {
  let row1 = row0 + pitch * min(1, rows - 1);
  let row2 = row0 + pitch * min(2, rows - 1);
  let row3 = row0 + pitch * min(3, rows - 1);
  let low0 = f32x4.splat(0);
  let high0 = f32x4.splat(0);
  let low1 = f32x4.splat(0);
  let high1 = f32x4.splat(0);
  let low2 = f32x4.splat(0);
  let high2 = f32x4.splat(0);
  let low3 = f32x4.splat(0);
  let high3 = f32x4.splat(0);
  const pairs = strip + ((<usize>(depth >>> 1)) << 6);
  while (strip < pairs) {
    const low = v128.load(strip);
    const high = v128.load(strip, 16);
    const left0 = v128.load32_splat(row0);
    low0 = f32x4.add(low0, f32x4.mul(left0, low));
    high0 = f32x4.add(high0, f32x4.mul(left0, high));
    const left1 = v128.load32_splat(row1);
    low1 = f32x4.add(low1, f32x4.mul(left1, low));
    high1 = f32x4.add(high1, f32x4.mul(left1, high));
    const left2 = v128.load32_splat(row2);
    low2 = f32x4.add(low2, f32x4.mul(left2, low));
    high2 = f32x4.add(high2, f32x4.mul(left2, high));
    const left3 = v128.load32_splat(row3);
    low3 = f32x4.add(low3, f32x4.mul(left3, low));
    high3 = f32x4.add(high3, f32x4.mul(left3, high));
    const nextLow = v128.load(strip, 32);
    const nextHigh = v128.load(strip, 48);
    const next0 = v128.load32_splat(row0, 4);
    low0 = f32x4.add(low0, f32x4.mul(next0, nextLow));
    high0 = f32x4.add(high0, f32x4.mul(next0, nextHigh));
    const next1 = v128.load32_splat(row1, 4);
    low1 = f32x4.add(low1, f32x4.mul(next1, nextLow));
    high1 = f32x4.add(high1, f32x4.mul(next1, nextHigh));
    const next2 = v128.load32_splat(row2, 4);
    low2 = f32x4.add(low2, f32x4.mul(next2, nextLow));
    high2 = f32x4.add(high2, f32x4.mul(next2, nextHigh));
    const next3 = v128.load32_splat(row3, 4);
    low3 = f32x4.add(low3, f32x4.mul(next3, nextLow));
    high3 = f32x4.add(high3, f32x4.mul(next3, nextHigh));
    row0 += 8;
    row1 += 8;
    row2 += 8;
    row3 += 8;
    strip += 64;
  }
  if ((depth & 1) !== 0) {
    const low = v128.load(strip);
    const high = v128.load(strip, 16);
    const left0 = v128.load32_splat(row0);
    low0 = f32x4.add(low0, f32x4.mul(left0, low));
    high0 = f32x4.add(high0, f32x4.mul(left0, high));
    const left1 = v128.load32_splat(row1);
    low1 = f32x4.add(low1, f32x4.mul(left1, low));
    high1 = f32x4.add(high1, f32x4.mul(left1, high));
    const left2 = v128.load32_splat(row2);
    low2 = f32x4.add(low2, f32x4.mul(left2, low));
    high2 = f32x4.add(high2, f32x4.mul(left2, high));
    const left3 = v128.load32_splat(row3);
    low3 = f32x4.add(low3, f32x4.mul(left3, low));
    high3 = f32x4.add(high3, f32x4.mul(left3, high));
  }
  v128.store(sums, low0, 0);
  v128.store(sums, high0, 16);
  v128.store(sums, low1, 32);
  v128.store(sums, high1, 48);
  v128.store(sums, low2, 64);
  v128.store(sums, high2, 80);
  v128.store(sums, low3, 96);
  v128.store(sums, high3, 112);
}
