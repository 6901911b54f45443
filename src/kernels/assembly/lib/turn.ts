/** Turns of pairs of elements by the angles of a position. */

/** into = from with the pairs (j, j + half) of every head turned; `angles` are (cos, sin) of every pair. */
export function turnHeads(
  from: usize,
  into: usize,
  angles: usize,
  heads: u32,
  headWidth: u32,
  half: u32,
  sign: f32,
): void {
  for (let head: u32 = 0; head < heads; head++) {
    const at: usize = (<usize>(head * headWidth)) << 2;
    turnHead(from + at, into + at, angles, half, sign);
  }
}

function turnHead(from: usize, into: usize, angles: usize, half: u32, sign: f32): void {
  const signs = f32x4.splat(sign);
  const far: usize = half << 2;
  const end = half & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    const low = v128.load(angles + (at << 1));
    const high = v128.load(angles + (at << 1), 16);
    const cos = v128.shuffle<f32>(low, high, 0, 2, 4, 6);
    const sin = f32x4.mul(v128.shuffle<f32>(low, high, 1, 3, 5, 7), signs);
    const a = v128.load(from + at);
    const b = v128.load(from + at + far);
    v128.store(into + at, f32x4.sub(f32x4.mul(a, cos), f32x4.mul(b, sin)));
    v128.store(into + at + far, f32x4.add(f32x4.mul(b, cos), f32x4.mul(a, sin)));
  }
  for (let j = end; j < half; j++) {
    const at: usize = j << 2;
    const cos = load<f32>(angles + (at << 1));
    const sin = load<f32>(angles + (at << 1), 4) * sign;
    const a = load<f32>(from + at);
    const b = load<f32>(from + at + far);
    store<f32>(into + at, a * cos - b * sin);
    store<f32>(into + at + far, b * cos + a * sin);
  }
}
