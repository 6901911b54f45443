/** Sums of whole rows. */

/** y = a + b for `count` values; `y` may be one of them. */
export function addRows(y: usize, a: usize, b: usize, count: u32): void {
  const end = count & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    v128.store(y + at, f32x4.add(v128.load(a + at), v128.load(b + at)));
  }
  for (let j = end; j < count; j++) {
    const at: usize = j << 2;
    store<f32>(y + at, load<f32>(a + at) + load<f32>(b + at));
  }
}

/** y *= factor for `count` values. */
export function scaleRow(y: usize, count: u32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const end = count & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    v128.store(y + at, f32x4.mul(v128.load(y + at), factors));
  }
  for (let j = end; j < count; j++) {
    const at: usize = j << 2;
    store<f32>(y + at, load<f32>(y + at) * factor);
  }
}
