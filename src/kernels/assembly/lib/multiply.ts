/** The innermost loop of a matrix product. */

/** From one step of a strip to the next: 8 columns. */
export const STEP_BYTES: usize = 32;
/** The same for four rows of the left operand where they lie side by side. */
export const FOUR_BYTES: usize = 16;

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
    low0 = multiplyAdd(left0, low, low0);
    high0 = multiplyAdd(left0, high, high0);
    const left1 = v128.load32_splat(row1);
    low1 = multiplyAdd(left1, low, low1);
    high1 = multiplyAdd(left1, high, high1);
    const left2 = v128.load32_splat(row2);
    low2 = multiplyAdd(left2, low, low2);
    high2 = multiplyAdd(left2, high, high2);
    const left3 = v128.load32_splat(row3);
    low3 = multiplyAdd(left3, low, low3);
    high3 = multiplyAdd(left3, high, high3);
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

/** The same with the four rows side by side: `left` has a value of each, `FOUR_BYTES` a step. */
export function multiplyTurned(left: usize, strip: usize, depth: u32, sums: usize): void {
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
    const left0 = v128.load32_splat(left);
    low0 = multiplyAdd(left0, low, low0);
    high0 = multiplyAdd(left0, high, high0);
    const left1 = v128.load32_splat(left, 4);
    low1 = multiplyAdd(left1, low, low1);
    high1 = multiplyAdd(left1, high, high1);
    const left2 = v128.load32_splat(left, 8);
    low2 = multiplyAdd(left2, low, low2);
    high2 = multiplyAdd(left2, high, high2);
    const left3 = v128.load32_splat(left, 12);
    low3 = multiplyAdd(left3, low, low3);
    high3 = multiplyAdd(left3, high, high3);
    left += FOUR_BYTES;
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

/** a b + c: rounded once where the build and the processor allow it; measured to be 15 % faster. */
function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}
