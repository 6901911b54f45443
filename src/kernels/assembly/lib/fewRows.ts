/** A query and the keys of a cache, several keys at a time; `width` is a multiple of 4. */

/** The address of row n, or of the last one. */
function rowAt(rows: usize, stride: usize, n: u32, last: u32): usize {
  return rows + <usize>min(n, last) * stride;
}

/** into[0 … 7] = the products of `own` with the rows first … first + 7. */
export function eightProducts(
  own: usize,
  rows: usize,
  stride: usize,
  first: u32,
  last: u32,
  width: u32,
  into: usize,
): void {
  const a = rowAt(rows, stride, first, last);
  const b = rowAt(rows, stride, first + 1, last);
  const c = rowAt(rows, stride, first + 2, last);
  const d = rowAt(rows, stride, first + 3, last);
  const e = rowAt(rows, stride, first + 4, last);
  const f = rowAt(rows, stride, first + 5, last);
  const g = rowAt(rows, stride, first + 6, last);
  const h = rowAt(rows, stride, first + 7, last);
  let ofA = f32x4.splat(0);
  let ofB = f32x4.splat(0);
  let ofC = f32x4.splat(0);
  let ofD = f32x4.splat(0);
  let ofE = f32x4.splat(0);
  let ofF = f32x4.splat(0);
  let ofG = f32x4.splat(0);
  let ofH = f32x4.splat(0);
  const end: usize = (<usize>width) << 2;
  for (let at: usize = 0; at < end; at += 16) {
    const mine = v128.load(own + at);
    ofA = f32x4.add(ofA, f32x4.mul(mine, v128.load(a + at)));
    ofB = f32x4.add(ofB, f32x4.mul(mine, v128.load(b + at)));
    ofC = f32x4.add(ofC, f32x4.mul(mine, v128.load(c + at)));
    ofD = f32x4.add(ofD, f32x4.mul(mine, v128.load(d + at)));
    ofE = f32x4.add(ofE, f32x4.mul(mine, v128.load(e + at)));
    ofF = f32x4.add(ofF, f32x4.mul(mine, v128.load(f + at)));
    ofG = f32x4.add(ofG, f32x4.mul(mine, v128.load(g + at)));
    ofH = f32x4.add(ofH, f32x4.mul(mine, v128.load(h + at)));
  }
  v128.store(into, fourSums(ofA, ofB, ofC, ofD));
  v128.store(into, fourSums(ofE, ofF, ofG, ofH), 16);
}

/** The sums over the lanes of four vectors. */
function fourSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** into [width] += Σ weights[0 … 3] times the rows first … first + 3. */
export function addFourRows(
  into: usize,
  rows: usize,
  stride: usize,
  first: u32,
  last: u32,
  width: u32,
  weights: usize,
): void {
  const a = rowAt(rows, stride, first, last);
  const b = rowAt(rows, stride, first + 1, last);
  const c = rowAt(rows, stride, first + 2, last);
  const d = rowAt(rows, stride, first + 3, last);
  const ofA = v128.load32_splat(weights);
  const ofB = v128.load32_splat(weights, 4);
  const ofC = v128.load32_splat(weights, 8);
  const ofD = v128.load32_splat(weights, 12);
  const end: usize = (<usize>width) << 2;
  for (let at: usize = 0; at < end; at += 16) {
    const left = f32x4.add(f32x4.mul(v128.load(a + at), ofA), f32x4.mul(v128.load(b + at), ofB));
    const right = f32x4.add(f32x4.mul(v128.load(c + at), ofC), f32x4.mul(v128.load(d + at), ofD));
    v128.store(into + at, f32x4.add(v128.load(into + at), f32x4.add(left, right)));
  }
}
