import { address, real, whole } from './lib/slots';
import { dot, sumOf } from './lib/vectors';

/** Slots: residual?; x, w, (residual), y, rstd; rows, width, eps, offset. Pieces: rows. */
export function rmsNormForward(slots: usize, from: u32, to: u32): void {
  const hasResidual = whole(slots, 0) !== 0;
  const x = address(slots, 1);
  const w = address(slots, 2);
  const added = address(slots, 3);
  const more: u32 = hasResidual ? 1 : 0;
  const y = address(slots, 3 + more);
  const rstd = address(slots, 4 + more);
  const width = whole(slots, 6 + more);
  const eps = real(slots, 7 + more);
  const offset = real(slots, 8 + more);
  for (let row = from; row < to; row++) {
    const begin: usize = <usize>row * width * 4;
    const scale: f32 = 1.0 / Mathf.sqrt(dot(x + begin, x + begin, width) / <f32>width + eps);
    store<f32>(rstd + (row << 2), scale);
    normalise(x + begin, w, y + begin, width, scale, offset);
    if (hasResidual) addInto(y + begin, added + begin, width);
  }
}

function normalise(x: usize, w: usize, y: usize, width: u32, scale: f32, offset: f32): void {
  const scales = f32x4.splat(scale);
  const offsets = f32x4.splat(offset);
  const end = width & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    const factor = f32x4.add(v128.load(w + at), offsets);
    v128.store(y + at, f32x4.mul(f32x4.mul(v128.load(x + at), scales), factor));
  }
  for (let j = end; j < width; j++) {
    const at: usize = j << 2;
    store<f32>(y + at, load<f32>(x + at) * scale * (load<f32>(w + at) + offset));
  }
}

function addInto(y: usize, added: usize, width: u32): void {
  const end = width & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    v128.store(y + at, f32x4.add(v128.load(y + at), v128.load(added + at)));
  }
  for (let j = end; j < width; j++) {
    const at: usize = j << 2;
    store<f32>(y + at, load<f32>(y + at) + load<f32>(added + at));
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
    const scale = load<f32>(rstd + (row << 2));
    const pull = (pulled(x + begin, w, dy + begin, width, offset) * scale * scale) / <f32>width;
    const into = dx + begin;
    for (let j: u32 = 0; j < width; j++) {
      const at: usize = j << 2;
      const grown = load<f32>(dy + begin + at) * (load<f32>(w + at) + offset);
      const value = scale * (grown - load<f32>(x + begin + at) * pull);
      store<f32>(into + at, accumulate ? load<f32>(into + at) + value : value);
    }
  }
}

/** Σ dy (w + offset) x */
function pulled(x: usize, w: usize, dy: usize, width: u32, offset: f32): f32 {
  const offsets = f32x4.splat(offset);
  const end = width & ~3;
  let sums = f32x4.splat(0);
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    const factor = f32x4.add(v128.load(w + at), offsets);
    sums = f32x4.add(sums, f32x4.mul(f32x4.mul(v128.load(dy + at), factor), v128.load(x + at)));
  }
  let sum = sumOf(sums);
  for (let j = end; j < width; j++) {
    const at: usize = j << 2;
    sum += load<f32>(dy + at) * (load<f32>(w + at) + offset) * load<f32>(x + at);
  }
  return sum;
}
