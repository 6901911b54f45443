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

/** The same for two queries and the rows first … first + 3: every row is read once for both. */
export function fourProductsOfTwo(
  one: usize,
  other: usize,
  rows: usize,
  stride: usize,
  first: u32,
  last: u32,
  width: u32,
  intoOne: usize,
  intoOther: usize,
): void {
  const a = rowAt(rows, stride, first, last);
  const b = rowAt(rows, stride, first + 1, last);
  const c = rowAt(rows, stride, first + 2, last);
  const d = rowAt(rows, stride, first + 3, last);
  let oneA = f32x4.splat(0);
  let oneB = f32x4.splat(0);
  let oneC = f32x4.splat(0);
  let oneD = f32x4.splat(0);
  let otherA = f32x4.splat(0);
  let otherB = f32x4.splat(0);
  let otherC = f32x4.splat(0);
  let otherD = f32x4.splat(0);
  const end: usize = (<usize>width) << 2;
  for (let at: usize = 0; at < end; at += 16) {
    const mine = v128.load(one + at);
    const yours = v128.load(other + at);
    const ofA = v128.load(a + at);
    oneA = f32x4.add(oneA, f32x4.mul(mine, ofA));
    otherA = f32x4.add(otherA, f32x4.mul(yours, ofA));
    const ofB = v128.load(b + at);
    oneB = f32x4.add(oneB, f32x4.mul(mine, ofB));
    otherB = f32x4.add(otherB, f32x4.mul(yours, ofB));
    const ofC = v128.load(c + at);
    oneC = f32x4.add(oneC, f32x4.mul(mine, ofC));
    otherC = f32x4.add(otherC, f32x4.mul(yours, ofC));
    const ofD = v128.load(d + at);
    oneD = f32x4.add(oneD, f32x4.mul(mine, ofD));
    otherD = f32x4.add(otherD, f32x4.mul(yours, ofD));
  }
  v128.store(intoOne, fourSums(oneA, oneB, oneC, oneD));
  v128.store(intoOther, fourSums(otherA, otherB, otherC, otherD));
}

/** The same for two sums: every row is read once for both. */
export function addFourRowsToTwo(
  one: usize,
  other: usize,
  rows: usize,
  stride: usize,
  first: u32,
  last: u32,
  width: u32,
  weightsOfOne: usize,
  weightsOfOther: usize,
): void {
  const a = rowAt(rows, stride, first, last);
  const b = rowAt(rows, stride, first + 1, last);
  const c = rowAt(rows, stride, first + 2, last);
  const d = rowAt(rows, stride, first + 3, last);
  const oneA = v128.load32_splat(weightsOfOne);
  const oneB = v128.load32_splat(weightsOfOne, 4);
  const oneC = v128.load32_splat(weightsOfOne, 8);
  const oneD = v128.load32_splat(weightsOfOne, 12);
  const otherA = v128.load32_splat(weightsOfOther);
  const otherB = v128.load32_splat(weightsOfOther, 4);
  const otherC = v128.load32_splat(weightsOfOther, 8);
  const otherD = v128.load32_splat(weightsOfOther, 12);
  const end: usize = (<usize>width) << 2;
  for (let at: usize = 0; at < end; at += 16) {
    const ofA = v128.load(a + at);
    const ofB = v128.load(b + at);
    let mine = f32x4.add(f32x4.mul(ofA, oneA), f32x4.mul(ofB, oneB));
    let yours = f32x4.add(f32x4.mul(ofA, otherA), f32x4.mul(ofB, otherB));
    const ofC = v128.load(c + at);
    const ofD = v128.load(d + at);
    mine = f32x4.add(mine, f32x4.add(f32x4.mul(ofC, oneC), f32x4.mul(ofD, oneD)));
    yours = f32x4.add(yours, f32x4.add(f32x4.mul(ofC, otherC), f32x4.mul(ofD, otherD)));
    v128.store(one + at, f32x4.add(v128.load(one + at), mine));
    v128.store(other + at, f32x4.add(v128.load(other + at), yours));
  }
}
