import { address, real, whole } from './lib/slots';
import { dot, load4, store4, sumOf } from './lib/vectors';

/** Slots: residual?; x, w, (residual), y, rstd; rows, width, eps, offset. Pieces: rows. */
export function rmsNormForward(slots: usize, from: u32, to: u32): void {
  const hasResidual = whole(slots, 0) !== 0;
  const x = address(slots, 1);
  const w = address(slots, 2);
  const more: u32 = hasResidual ? 1 : 0;
  const residual: usize = hasResidual ? address(slots, 3) : 0;
  const y = address(slots, 3 + more);
  const rstd = address(slots, 4 + more);
  const width = whole(slots, 6 + more);
  const eps = real(slots, 7 + more);
  const offset = real(slots, 8 + more);
  for (let row = from; row < to; row++) {
    const begin: usize = <usize>row * width * 4;
    const scale: f32 = 1.0 / Mathf.sqrt(dot(x + begin, x + begin, width) / <f32>width + eps);
    store<f32>(rstd + ((<usize>row) << 2), scale);
    normalise(x + begin, w, hasResidual ? residual + begin : 0, y + begin, width, scale, offset);
  }
}

/** y = x scale (w + offset) (+ added, where there is any) */
function normalise(x: usize, w: usize, added: usize, y: usize, width: u32, scale: f32, offset: f32): void {
  const scales = f32x4.splat(scale);
  const offsets = f32x4.splat(offset);
  for (let j: u32 = 0; j < width; j += 4) {
    const at: usize = j << 2;
    const left = width - j;
    const factor = f32x4.add(load4(w + at, left), offsets);
    let value = f32x4.mul(f32x4.mul(load4(x + at, left), scales), factor);
    if (added) value = f32x4.add(value, load4(added + at, left));
    store4(y + at, value, left);
  }
}

/** Slots: accumulate?; x, w, rstd, dy, dx; rows, width, offset. Pieces: rows. */
export function rmsNormBackward(slots: usize, from: u32, to: u32): void {
  const accumulate = whole(slots, 0) !== 0;
  const x = address(slots, 1);
  const w = address(slots, 2);
  const rstd = address(slots, 3);
  const dy = address(slots, 4);
  const dx = address(slots, 5);
  const width = whole(slots, 7);
  const offset = real(slots, 8);
  for (let row = from; row < to; row++) {
    const begin: usize = <usize>row * width * 4;
    pullBack(
      x + begin,
      w,
      dy + begin,
      dx + begin,
      width,
      offset,
      load<f32>(rstd + ((<usize>row) << 2)),
      accumulate,
    );
  }
}

/** dx (+)= scale (g - x Σ g x scale^2 / width) with g = dy (w + offset) */
function pullBack(
  x: usize,
  w: usize,
  dy: usize,
  dx: usize,
  width: u32,
  offset: f32,
  scale: f32,
  accumulate: bool,
): void {
  const offsets = f32x4.splat(offset);
  let sums = f32x4.splat(0);
  for (let j: u32 = 0; j < width; j += 4) {
    const at: usize = j << 2;
    sums = f32x4.add(sums, f32x4.mul(grown(dy + at, w + at, offsets, width - j), load4(x + at, width - j)));
  }
  const scales = f32x4.splat(scale);
  const pulls = f32x4.splat((sumOf(sums) * scale * scale) / <f32>width);
  for (let j: u32 = 0; j < width; j += 4) {
    const at: usize = j << 2;
    const left = width - j;
    const free = f32x4.sub(grown(dy + at, w + at, offsets, left), f32x4.mul(load4(x + at, left), pulls));
    let value = f32x4.mul(scales, free);
    if (accumulate) value = f32x4.add(value, load4(dx + at, left));
    store4(dx + at, value, left);
  }
}

/** dy (w + offset) */
function grown(dy: usize, w: usize, offsets: v128, left: u32): v128 {
  return f32x4.mul(load4(dy, left), f32x4.add(load4(w, left), offsets));
}
