import { endElement, firstElement } from './lib/elements';
import { softCap4 } from './lib/math';
import { address, real, whole } from './lib/slots';
import { load4, store4 } from './lib/vectors';

/** Slots: y; count, value. Pieces: blocks of elements, here and below. */
export function elementwiseFill(slots: usize, from: u32, to: u32): void {
  const y = address(slots, 0);
  const end = endElement(to, whole(slots, 1));
  const value = f32x4.splat(real(slots, 2));
  for (let i = firstElement(from); i < end; i += 4) store4(y + (i << 2), value, end - i);
}

/** Slots: x, y; count. */
export function elementwiseCopy(slots: usize, from: u32, to: u32): void {
  const begin = firstElement(from) << 2;
  const end = endElement(to, whole(slots, 2)) << 2;
  memory.copy(address(slots, 1) + begin, address(slots, 0) + begin, end - begin);
}

/** Slots: x, y; count, a. */
export function elementwiseAxpy(slots: usize, from: u32, to: u32): void {
  const x = address(slots, 0);
  const y = address(slots, 1);
  const end = endElement(to, whole(slots, 2));
  const factor = f32x4.splat(real(slots, 3));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    store4(y + at, f32x4.add(load4(y + at, left), f32x4.mul(factor, load4(x + at, left))), left);
  }
}

/** Slots: a, b, y; count. */
export function elementwiseAdd(slots: usize, from: u32, to: u32): void {
  const a = address(slots, 0);
  const b = address(slots, 1);
  const y = address(slots, 2);
  const end = endElement(to, whole(slots, 3));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    store4(y + at, f32x4.add(load4(a + at, left), load4(b + at, left)), left);
  }
}

/** Slots: y; count, a. */
export function elementwiseScale(slots: usize, from: u32, to: u32): void {
  const y = address(slots, 0);
  const end = endElement(to, whole(slots, 1));
  const factor = f32x4.splat(real(slots, 2));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = y + (i << 2);
    store4(at, f32x4.mul(factor, load4(at, end - i)), end - i);
  }
}

/** Slots: y; count, cap. */
export function elementwiseSoftCap(slots: usize, from: u32, to: u32): void {
  const y = address(slots, 0);
  const end = endElement(to, whole(slots, 1));
  const cap = real(slots, 2);
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = y + (i << 2);
    store4(at, softCap4(load4(at, end - i), cap), end - i);
  }
}

/** Slots: residual?, accumulate?; x, (residual), y; count, a. y (= or +=) a x (+ residual). */
export function scaledSum(slots: usize, from: u32, to: u32): void {
  const hasResidual = whole(slots, 0) !== 0;
  const accumulate = whole(slots, 1) !== 0;
  const more: u32 = hasResidual ? 1 : 0;
  const x = address(slots, 2);
  const residual = address(slots, 3);
  const y = address(slots, 3 + more);
  const end = endElement(to, whole(slots, 4 + more));
  const factor = f32x4.splat(real(slots, 5 + more));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    let sum = f32x4.mul(factor, load4(x + at, left));
    if (hasResidual) sum = f32x4.add(sum, load4(residual + at, left));
    if (accumulate) sum = f32x4.add(load4(y + at, left), sum);
    store4(y + at, sum, left);
  }
}
