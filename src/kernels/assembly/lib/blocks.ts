/**
 * What attention is made of: products of rows that a piece owns (the lanes of a block of scores) with rows of the other
 * side, and sums of rows weighted with such a block. Rows are heads in [tokens, heads * width]: `stride` bytes lie between
 * them. A block is [rows of the other side][OWN].
 */

/** Rows that are owned at once. */
export const OWN: u32 = 32;
/** Bytes from one row of a block to the next. */
export const PITCH: usize = 128;
/** Rows of the other side that are taken at once. */
export const BLOCK: u32 = 64;

/** into [width][OWN] = `count` rows, transposed; behind them stands the last one again. */
export function gather(rows: usize, stride: usize, count: u32, width: u32, into: usize): void {
  const last = count - 1;
  for (let own: u32 = 0; own < OWN; own += 4) {
    const a = rows + <usize>min(own, last) * stride;
    const b = rows + <usize>min(own + 1, last) * stride;
    const c = rows + <usize>min(own + 2, last) * stride;
    const d = rows + <usize>min(own + 3, last) * stride;
    transpose(a, b, c, d, width, into + ((<usize>own) << 2), PITCH);
  }
}

/** Four rows of `width` values become `width` rows of four, `pitch` bytes apart. */
export function transpose(
  a: usize,
  b: usize,
  c: usize,
  d: usize,
  width: u32,
  into: usize,
  pitch: usize,
): void {
  const end = width & ~3;
  let target = into;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    const row0 = v128.load(a + at);
    const row1 = v128.load(b + at);
    const row2 = v128.load(c + at);
    const row3 = v128.load(d + at);
    const low01 = v128.shuffle<f32>(row0, row1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(row0, row1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(row2, row3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(row2, row3, 2, 6, 3, 7);
    v128.store(target, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
    v128.store(target + pitch, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
    v128.store(target + 2 * pitch, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
    v128.store(target + 3 * pitch, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
    target += 4 * pitch;
  }
  for (let j = end; j < width; j++) {
    const at: usize = j << 2;
    store<f32>(target, load<f32>(a + at));
    store<f32>(target, load<f32>(b + at), 4);
    store<f32>(target, load<f32>(c + at), 8);
    store<f32>(target, load<f32>(d + at), 12);
    target += pitch;
  }
}

/**
 * into [count][OWN] = the products of `count` rows with the first `lanes` (a multiple of 8) of `mine` [width][OWN]. Up to
 * three rows more are written.
 */
export function products(
  mine: usize,
  lanes: u32,
  rows: usize,
  stride: usize,
  count: u32,
  width: u32,
  into: usize,
): void {
  const last = count - 1;
  for (let n: u32 = 0; n < count; n += 4) {
    const a = rows + <usize>n * stride;
    const b = rows + <usize>min(n + 1, last) * stride;
    const c = rows + <usize>min(n + 2, last) * stride;
    const d = rows + <usize>min(n + 3, last) * stride;
    for (let own: u32 = 0; own < lanes; own += 8) {
      const at: usize = own << 2;
      fourByEight(mine + at, a, b, c, d, width, into + <usize>n * PITCH + at);
    }
  }
}

function fourByEight(mine: usize, a: usize, b: usize, c: usize, d: usize, width: u32, into: usize): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  const end: usize = width << 2;
  for (let at: usize = 0; at < end; at += 4) {
    const left = v128.load(mine);
    const right = v128.load(mine, 16);
    mine += PITCH;
    const ofA = v128.load32_splat(a + at);
    a0 = f32x4.add(a0, f32x4.mul(left, ofA));
    a1 = f32x4.add(a1, f32x4.mul(right, ofA));
    const ofB = v128.load32_splat(b + at);
    b0 = f32x4.add(b0, f32x4.mul(left, ofB));
    b1 = f32x4.add(b1, f32x4.mul(right, ofB));
    const ofC = v128.load32_splat(c + at);
    c0 = f32x4.add(c0, f32x4.mul(left, ofC));
    c1 = f32x4.add(c1, f32x4.mul(right, ofC));
    const ofD = v128.load32_splat(d + at);
    d0 = f32x4.add(d0, f32x4.mul(left, ofD));
    d1 = f32x4.add(d1, f32x4.mul(right, ofD));
  }
  v128.store(into, a0);
  v128.store(into, a1, 16);
  v128.store(into, b0, 128);
  v128.store(into, b1, 144);
  v128.store(into, c0, 256);
  v128.store(into, c1, 272);
  v128.store(into, d0, 384);
  v128.store(into, d1, 400);
}

/**
 * sums[own] += Σ_n weights[n][own] rows[n] for `count` rows and the first `lanes` (a multiple of 4) of the own ones; sums
 * are [lanes][width].
 */
export function addWeighted(
  sums: usize,
  lanes: u32,
  weights: usize,
  rows: usize,
  stride: usize,
  count: u32,
  width: u32,
): void {
  const pitch: usize = width << 2;
  for (let own: u32 = 0; own < lanes; own += 4) {
    const into = sums + <usize>own * pitch;
    const shares = weights + ((<usize>own) << 2);
    let c: u32 = 0;
    for (; c + 8 <= width; c += 8) {
      const at: usize = c << 2;
      addEightColumns(into + at, pitch, shares, rows + at, stride, count);
    }
    for (; c + 4 <= width; c += 4) {
      const at: usize = c << 2;
      addFourColumns(into + at, pitch, shares, rows + at, stride, count);
    }
    for (; c < width; c++) {
      const at: usize = c << 2;
      addColumn(into + at, pitch, shares, rows + at, stride, count);
    }
  }
}

function addEightColumns(
  into: usize,
  pitch: usize,
  weights: usize,
  rows: usize,
  stride: usize,
  count: u32,
): void {
  const second = into + pitch;
  const third = second + pitch;
  const fourth = third + pitch;
  let a0 = v128.load(into);
  let a1 = v128.load(into, 16);
  let b0 = v128.load(second);
  let b1 = v128.load(second, 16);
  let c0 = v128.load(third);
  let c1 = v128.load(third, 16);
  let d0 = v128.load(fourth);
  let d1 = v128.load(fourth, 16);
  const end = weights + <usize>count * PITCH;
  for (; weights < end; weights += PITCH) {
    const left = v128.load(rows);
    const right = v128.load(rows, 16);
    rows += stride;
    const ofA = v128.load32_splat(weights);
    a0 = f32x4.add(a0, f32x4.mul(left, ofA));
    a1 = f32x4.add(a1, f32x4.mul(right, ofA));
    const ofB = v128.load32_splat(weights, 4);
    b0 = f32x4.add(b0, f32x4.mul(left, ofB));
    b1 = f32x4.add(b1, f32x4.mul(right, ofB));
    const ofC = v128.load32_splat(weights, 8);
    c0 = f32x4.add(c0, f32x4.mul(left, ofC));
    c1 = f32x4.add(c1, f32x4.mul(right, ofC));
    const ofD = v128.load32_splat(weights, 12);
    d0 = f32x4.add(d0, f32x4.mul(left, ofD));
    d1 = f32x4.add(d1, f32x4.mul(right, ofD));
  }
  v128.store(into, a0);
  v128.store(into, a1, 16);
  v128.store(second, b0);
  v128.store(second, b1, 16);
  v128.store(third, c0);
  v128.store(third, c1, 16);
  v128.store(fourth, d0);
  v128.store(fourth, d1, 16);
}

function addFourColumns(
  into: usize,
  pitch: usize,
  weights: usize,
  rows: usize,
  stride: usize,
  count: u32,
): void {
  let a = v128.load(into);
  let b = v128.load(into + pitch);
  let c = v128.load(into + 2 * pitch);
  let d = v128.load(into + 3 * pitch);
  const end = weights + <usize>count * PITCH;
  for (; weights < end; weights += PITCH) {
    const row = v128.load(rows);
    rows += stride;
    a = f32x4.add(a, f32x4.mul(row, v128.load32_splat(weights)));
    b = f32x4.add(b, f32x4.mul(row, v128.load32_splat(weights, 4)));
    c = f32x4.add(c, f32x4.mul(row, v128.load32_splat(weights, 8)));
    d = f32x4.add(d, f32x4.mul(row, v128.load32_splat(weights, 12)));
  }
  v128.store(into, a);
  v128.store(into + pitch, b);
  v128.store(into + 2 * pitch, c);
  v128.store(into + 3 * pitch, d);
}

function addColumn(into: usize, pitch: usize, weights: usize, rows: usize, stride: usize, count: u32): void {
  let sum = f32x4.splat(0);
  const end = weights + <usize>count * PITCH;
  for (; weights < end; weights += PITCH) {
    sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(rows), v128.load(weights)));
    rows += stride;
  }
  addTo(into, f32x4.extract_lane(sum, 0));
  addTo(into + pitch, f32x4.extract_lane(sum, 1));
  addTo(into + 2 * pitch, f32x4.extract_lane(sum, 2));
  addTo(into + 3 * pitch, f32x4.extract_lane(sum, 3));
}

function addTo(into: usize, value: f32): void {
  store<f32>(into, load<f32>(into) + value);
}

/** `count` rows of sums [.., width] to where they belong, each times `factors[row]`. */
export function putScaled(
  sums: usize,
  factors: usize,
  rows: usize,
  stride: usize,
  count: u32,
  width: u32,
): void {
  const end = width & ~3;
  for (let own: u32 = 0; own < count; own++) {
    const from = sums + <usize>own * width * 4;
    const into = rows + <usize>own * stride;
    const factor = load<f32>(factors + ((<usize>own) << 2));
    const lanes = f32x4.splat(factor);
    for (let c: u32 = 0; c < end; c += 4) {
      const at: usize = c << 2;
      v128.store(into + at, f32x4.mul(v128.load(from + at), lanes));
    }
    for (let c = end; c < width; c++) {
      const at: usize = c << 2;
      store<f32>(into + at, load<f32>(from + at) * factor);
    }
  }
}

/** `count` rows of sums [.., width] to where they belong. */
export function put(sums: usize, rows: usize, stride: usize, count: u32, width: u32): void {
  const bytes: usize = width << 2;
  for (let own: u32 = 0; own < count; own++) {
    memory.copy(rows + <usize>own * stride, sums + <usize>own * bytes, bytes);
  }
}
