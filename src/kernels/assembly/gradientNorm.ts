import { finite } from './lib/math';
import { address, real, whole } from './lib/slots';
import { dot } from './lib/vectors';

/** Squares that are added up in single precision. */
const RUN: u32 = 1024;

/** Slots: g, partials; count, groups, at. Pieces: groups, each an equal part of the gradient. */
export function gradientNormSquares(slots: usize, from: u32, to: u32): void {
  const g = address(slots, 0);
  const partials = address(slots, 1);
  const count = whole(slots, 2);
  const groups = whole(slots, 3);
  const at = whole(slots, 4);
  const share = (count + groups - 1) / groups;
  for (let group = from; group < to; group++) {
    const end = min((group + 1) * share, count);
    let sum: f64 = 0;
    for (let i = group * share; i < end; i += RUN) {
      const run: usize = g + (i << 2);
      sum += dot(run, run, min(end - i, RUN));
    }
    store<f32>(partials + ((at + group) << 2), <f32>sum);
  }
}

/** Slots: partials, gradScale; count, clip. One piece. */
export function gradientNormClip(slots: usize, _from: u32, _to: u32): void {
  const partials = address(slots, 0);
  const gradScale = address(slots, 1);
  const count = whole(slots, 2);
  const clip = real(slots, 3);
  let sum: f64 = 0;
  for (let i: u32 = 0; i < count; i++) sum += load<f32>(partials + (i << 2));
  const total = <f32>sum;
  const norm = Mathf.sqrt(total);
  let scale: f32 = clip > 0 ? min<f32>(1, clip / (norm + 1e-6)) : 1;
  if (!finite(total)) scale = 0;
  store<f32>(gradScale, scale);
  store<f32>(gradScale, norm, 4);
}
