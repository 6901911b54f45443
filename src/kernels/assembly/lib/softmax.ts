/** What kernels that read a row of logits have in common. */
import { exp4, softCap4 } from './math';
import { scratch } from './scratch';
import { load4, loadPart, store4, sumOf } from './vectors';

/** Stands for minus infinity: finite, and exp of its distance to any logit is 0. As in `rowScan.ts`. */
export const LOWEST: f32 = -3.0e38;

/** So many terms are added up before they go to the total, which then keeps its digits over a long row. */
const RUN: u32 = 2048;

/** Where capped logits lie in scratch, behind what the kernels themselves keep there. */
export const CAPPED: usize = 65536;

/** The largest of a row and `LOWEST`; NaN counts for nothing. */
export function rowPeak(z: usize, count: u32): f32 {
  return largest(z, count, LOWEST);
}

/** The largest of a row and `least`. */
export function largest(z: usize, count: u32, least: f32): f32 {
  let a = f32x4.splat(least);
  let b = a;
  let c = a;
  let d = a;
  const end = count & ~15;
  let j: u32 = 0;
  for (; j < end; j += 16) {
    const at: usize = z + (j << 2);
    a = f32x4.pmax(a, v128.load(at));
    b = f32x4.pmax(b, v128.load(at, 16));
    c = f32x4.pmax(c, v128.load(at, 32));
    d = f32x4.pmax(d, v128.load(at, 48));
  }
  for (; j < count; j += 4) a = f32x4.pmax(a, part(z, j, count));
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  return max(
    max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1)),
    max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)),
  );
}

/** The first place in a row that holds `value`, or `count`. */
export function firstPlace(z: usize, count: u32, value: f32): u32 {
  const values = f32x4.splat(value);
  const end = count & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const hits = i32x4.bitmask(f32x4.eq(v128.load(z + (j << 2)), values));
    if (hits !== 0) return j + ctz(hits);
  }
  for (let j = end; j < count; j++) {
    if (load<f32>(z + (j << 2)) === value) return j;
  }
  return count;
}

/** Σ exp(y − peak) over a row of logits, y = z or with a soft cap. */
export function sumOfExp(z: usize, count: u32, peak: f32, cap: f32): f32 {
  let total: f32 = 0;
  for (let j: u32 = 0; j < count; j += RUN) {
    const run = min(count - j, RUN);
    const at: usize = z + (j << 2);
    total += cap > 0 ? cappedRun(at, run, peak, cap) : plainRun(at, run, peak);
  }
  return total;
}

function plainRun(z: usize, count: u32, peak: f32): f32 {
  const peaks = f32x4.splat(peak);
  let sums = f32x4.splat(0);
  for (let j: u32 = 0; j < count; j += 4) {
    sums = f32x4.add(sums, exp4(f32x4.sub(part(z, j, count), peaks)));
  }
  return sumOf(sums);
}

/** One after the other, so that what each needs stays in registers. */
function cappedRun(z: usize, count: u32, peak: f32, cap: f32): f32 {
  const capped = scratch() + CAPPED;
  capInto(capped, z, count, cap);
  return plainRun(capped, count, peak);
}

/** into = z with the soft cap. */
function capInto(into: usize, z: usize, count: u32, cap: f32): void {
  for (let j: u32 = 0; j < count; j += 4) {
    store4(into + (j << 2), softCap4(load4(z + (j << 2), count - j), cap), count - j);
  }
}

/** Four logits from `j` on; minus infinity behind the end. */
function part(z: usize, j: u32, count: u32): v128 {
  const at: usize = z + (j << 2);
  return count - j >= 4 ? v128.load(at) : loadPart(at, count - j, -Infinity);
}
