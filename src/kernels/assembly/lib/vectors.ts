/** Loops over rows of f32, four at a time and the rest one by one. */

/** The four lanes together. */
export function sumOf(lanes: v128): f32 {
  return (
    f32x4.extract_lane(lanes, 0) +
    f32x4.extract_lane(lanes, 1) +
    (f32x4.extract_lane(lanes, 2) + f32x4.extract_lane(lanes, 3))
  );
}

/** Σ a[j] b[j] in two strands. */
export function dot(a: usize, b: usize, count: u32): f32 {
  let even = f32x4.splat(0);
  let odd = f32x4.splat(0);
  const pairs = count & ~7;
  let j: u32 = 0;
  for (; j < pairs; j += 8) {
    const at: usize = j << 2;
    even = f32x4.add(even, f32x4.mul(v128.load(a + at), v128.load(b + at)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(a + at, 16), v128.load(b + at, 16)));
  }
  let sum = sumOf(f32x4.add(even, odd));
  for (; j < count; j++) {
    const at: usize = j << 2;
    sum += load<f32>(a + at) * load<f32>(b + at);
  }
  return sum;
}

/** The last `count` (1 to 3) values of a row; the other lanes hold `filler`. */
export function loadPart(p: usize, count: u32, filler: f32): v128 {
  let lanes = f32x4.replace_lane(f32x4.splat(filler), 0, load<f32>(p));
  if (count > 1) lanes = f32x4.replace_lane(lanes, 1, load<f32>(p, 4));
  if (count > 2) lanes = f32x4.replace_lane(lanes, 2, load<f32>(p, 8));
  return lanes;
}

/** Writes the first `count` (1 to 3) lanes. */
export function storePart(p: usize, lanes: v128, count: u32): void {
  store<f32>(p, f32x4.extract_lane(lanes, 0));
  if (count > 1) store<f32>(p, f32x4.extract_lane(lanes, 1), 4);
  if (count > 2) store<f32>(p, f32x4.extract_lane(lanes, 2), 8);
}

/** Four values of a row that has `left` more; zeros behind its end. */
export function load4(p: usize, left: u32): v128 {
  return left >= 4 ? v128.load(p) : loadPart(p, left, 0);
}

/** Writes four values of a row that has room for `left` more. */
export function store4(p: usize, lanes: v128, left: u32): void {
  if (left >= 4) v128.store(p, lanes);
  else storePart(p, lanes, left);
}
