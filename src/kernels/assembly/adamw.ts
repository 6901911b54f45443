import { endElement, firstElement } from './lib/elements';
import { address, whole } from './lib/slots';
import { load4, store4 } from './lib/vectors';

/** Slots: w, g, m, v, hyper, gradScale; count. Pieces: blocks of elements. */
export function adamw(slots: usize, from: u32, to: u32): void {
  const w = address(slots, 0);
  const g = address(slots, 1);
  const m = address(slots, 2);
  const v = address(slots, 3);
  const hyper = address(slots, 4);
  const scale = load<f32>(address(slots, 5));
  if (scale === 0) return;
  const rate = load<f32>(hyper);
  const scales = f32x4.splat(scale);
  const keepFirst = f32x4.splat(load<f32>(hyper, 4));
  const addFirst = f32x4.splat(<f32>1 - load<f32>(hyper, 4));
  const keepSecond = f32x4.splat(load<f32>(hyper, 8));
  const addSecond = f32x4.splat(load<f32>(hyper, 28));
  const epsilon = f32x4.splat(load<f32>(hyper, 12));
  const keepWeight = f32x4.splat(<f32>1 - rate * load<f32>(hyper, 16));
  const rates = f32x4.splat(rate);
  const firstShare = f32x4.splat(load<f32>(hyper, 20));
  const secondShare = f32x4.splat(load<f32>(hyper, 24));
  const end = endElement(to, whole(slots, 6));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    const gradient = f32x4.mul(scales, load4(g + at, left));
    const first = f32x4.add(f32x4.mul(keepFirst, load4(m + at, left)), f32x4.mul(addFirst, gradient));
    const square = f32x4.mul(f32x4.mul(addSecond, gradient), gradient);
    const second = f32x4.add(f32x4.mul(keepSecond, load4(v + at, left)), square);
    store4(m + at, settled(first), left);
    store4(v + at, settled(second), left);
    const root = f32x4.add(f32x4.sqrt(f32x4.div(second, secondShare)), epsilon);
    const direction = f32x4.div(f32x4.div(first, firstShare), root);
    const weight = f32x4.sub(f32x4.mul(load4(w + at, left), keepWeight), f32x4.mul(rates, direction));
    store4(w + at, weight, left);
  }
}

/**
 * 0 for what is below the least normal number: a moment that nothing adds to any more would end there, where a processor
 * takes a hundred times as long for a product.
 */
function settled(moment: v128): v128 {
  return v128.andnot(moment, f32x4.lt(f32x4.abs(moment), f32x4.splat(1.1754943508222875e-38)));
}
