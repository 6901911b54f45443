/** The innermost loop of a matrix product. */

/** From one step of a strip to the next: 8 columns. */
export const STEP_BYTES: usize = 32;

/**
 * Four rows of the left operand, `pitch` bytes apart, with a strip of 8 columns: their sums over `depth` steps into `sums`
 * [4, 8]. Rows from `rows` on are the last one again.
 *
 * Eight sums, two vectors of the strip and four factors fit the fifteen registers that engines use on x86, even where they
 * load all factors first. One sum more and it goes through memory, where the next addition waits for it: twelve sums were
 * measured at 7 of 44 GFLOP/s. For the same reason a turn is one step. Engines unroll it themselves.
 */
export function multiplyTile(
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
  const end = strip + <usize>depth * STEP_BYTES;
  while (strip < end) {
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
    row0 += 4;
    row1 += 4;
    row2 += 4;
    row3 += 4;
    strip += STEP_BYTES;
  }
  v128.store(sums, low0);
  v128.store(sums, high0, 16);
  v128.store(sums, low1, 32);
  v128.store(sums, high1, 48);
  v128.store(sums, low2, 64);
  v128.store(sums, high2, 80);
  v128.store(sums, low3, 96);
  v128.store(sums, high3, 112);
}
