import { endElement, firstElement } from './lib/elements';
import { gate4, gateSlope4 } from './lib/gate';
import { address, whole } from './lib/slots';
import { load4, store4 } from './lib/vectors';

/** Slots: activation; x, h; count. Pieces: blocks of elements, here and below. */
export function activateForward(slots: usize, from: u32, to: u32): void {
  const kind = whole(slots, 0);
  const x = address(slots, 1);
  const h = address(slots, 2);
  const end = endElement(to, whole(slots, 3));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const z = load4(x + at, end - i);
    store4(h + at, f32x4.mul(z, gate4(kind, z)), end - i);
  }
}

/** Slots: activation; x, dh, dx; count. */
export function activateBackward(slots: usize, from: u32, to: u32): void {
  const kind = whole(slots, 0);
  const x = address(slots, 1);
  const dh = address(slots, 2);
  const dx = address(slots, 3);
  const end = endElement(to, whole(slots, 4));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    const z = load4(x + at, left);
    const s = gate4(kind, z);
    const slope = f32x4.add(s, f32x4.mul(z, gateSlope4(kind, z, s)));
    store4(dx + at, f32x4.mul(load4(dh + at, left), slope), left);
  }
}

/** Slots: activation; g, u, h; count. */
export function gatedForward(slots: usize, from: u32, to: u32): void {
  const kind = whole(slots, 0);
  const g = address(slots, 1);
  const u = address(slots, 2);
  const h = address(slots, 3);
  const end = endElement(to, whole(slots, 4));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    const z = load4(g + at, left);
    store4(h + at, f32x4.mul(f32x4.mul(z, gate4(kind, z)), load4(u + at, left)), left);
  }
}

/** Slots: activation; g, u, dh, dg, du; count. */
export function gatedBackward(slots: usize, from: u32, to: u32): void {
  const kind = whole(slots, 0);
  const g = address(slots, 1);
  const u = address(slots, 2);
  const dh = address(slots, 3);
  const dg = address(slots, 4);
  const du = address(slots, 5);
  const end = endElement(to, whole(slots, 6));
  for (let i = firstElement(from); i < end; i += 4) {
    const at: usize = i << 2;
    const left = end - i;
    const z = load4(g + at, left);
    const s = gate4(kind, z);
    const d = load4(dh + at, left);
    const slope = f32x4.add(s, f32x4.mul(z, gateSlope4(kind, z, s)));
    const behind = f32x4.mul(f32x4.mul(d, z), s);
    store4(dg + at, f32x4.mul(f32x4.mul(d, load4(u + at, left)), slope), left);
    store4(du + at, behind, left);
  }
}
