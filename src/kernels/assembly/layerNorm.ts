import { address, real, whole } from './lib/slots';
import { load4, loadPart, store4, sumOf } from './lib/vectors';

/**
 * Slots: bias?, residual?; x, w, (b), (residual), y, stats; rows, width, eps. Pieces: rows. stats f32 [rows, 2] are mean
 * and 1 / standard deviation.
 */
export function layerNormForward(slots: usize, from: u32, to: u32): void {
  const hasBias = whole(slots, 0) !== 0;
  const hasResidual = whole(slots, 1) !== 0;
  const x = address(slots, 2);
  const w = address(slots, 3);
  const b = address(slots, 4);
  const first: u32 = hasBias ? 5 : 4;
  const residual = address(slots, first);
  const next: u32 = hasResidual ? first + 1 : first;
  const y = address(slots, next);
  const stats = address(slots, next + 1);
  const width = whole(slots, next + 3);
  const eps = real(slots, next + 4);
  for (let row = from; row < to; row++) {
    const begin: usize = <usize>row * width * 4;
    const mean = sumOfRow(x + begin, width) / <f32>width;
    const scale: f32 = 1 / Mathf.sqrt(sumOfSquares(x + begin, width, mean) / <f32>width + eps);
    store<f32>(stats + (row << 3), mean);
    store<f32>(stats + (row << 3), scale, 4);
    const means = f32x4.splat(mean);
    const scales = f32x4.splat(scale);
    for (let j: u32 = 0; j < width; j += 4) {
      const at: usize = j << 2;
      const left = width - j;
      const normed = f32x4.mul(f32x4.sub(load4(x + begin + at, left), means), scales);
      let value = f32x4.mul(normed, load4(w + at, left));
      if (hasBias) value = f32x4.add(value, load4(b + at, left));
      if (hasResidual) value = f32x4.add(value, load4(residual + begin + at, left));
      store4(y + begin + at, value, left);
    }
  }
}

function sumOfRow(x: usize, width: u32): f32 {
  let sums = f32x4.splat(0);
  for (let j: u32 = 0; j < width; j += 4) sums = f32x4.add(sums, load4(x + (j << 2), width - j));
  return sumOf(sums);
}

function sumOfSquares(x: usize, width: u32, mean: f32): f32 {
  const means = f32x4.splat(mean);
  const end = width & ~3;
  let sums = f32x4.splat(0);
  for (let j: u32 = 0; j < end; j += 4) {
    const difference = f32x4.sub(v128.load(x + (j << 2)), means);
    sums = f32x4.add(sums, f32x4.mul(difference, difference));
  }
  if (end < width) {
    const last = f32x4.sub(loadPart(x + (end << 2), width - end, mean), means);
    sums = f32x4.add(sums, f32x4.mul(last, last));
  }
  return sumOf(sums);
}

/** Slots: accumulate?; x, w, stats, dy, dx; rows, width. Pieces: rows. */
export function layerNormBackward(slots: usize, from: u32, to: u32): void {
  const accumulate = whole(slots, 0) !== 0;
  const x = address(slots, 1);
  const w = address(slots, 2);
  const stats = address(slots, 3);
  const dy = address(slots, 4);
  const dx = address(slots, 5);
  const width = whole(slots, 7);
  for (let row = from; row < to; row++) {
    const begin: usize = <usize>row * width * 4;
    const means = f32x4.splat(load<f32>(stats + (row << 3)));
    const scale = load<f32>(stats + (row << 3), 4);
    let sums = f32x4.splat(0);
    let dots = f32x4.splat(0);
    for (let j: u32 = 0; j < width; j += 4) {
      const at: usize = j << 2;
      const left = width - j;
      const g = f32x4.mul(load4(dy + begin + at, left), load4(w + at, left));
      sums = f32x4.add(sums, g);
      dots = f32x4.add(dots, f32x4.mul(g, f32x4.sub(load4(x + begin + at, left), means)));
    }
    const level = f32x4.splat(sumOf(sums) / <f32>width);
    const pull = f32x4.splat((sumOf(dots) * scale * scale) / <f32>width);
    const scales = f32x4.splat(scale);
    for (let j: u32 = 0; j < width; j += 4) {
      const at: usize = j << 2;
      const left = width - j;
      const g = f32x4.mul(load4(dy + begin + at, left), load4(w + at, left));
      const along = f32x4.mul(f32x4.sub(load4(x + begin + at, left), means), pull);
      const value = f32x4.mul(scales, f32x4.sub(f32x4.sub(g, level), along));
      const into = dx + begin + at;
      store4(into, accumulate ? f32x4.add(load4(into, left), value) : value, left);
    }
  }
}
