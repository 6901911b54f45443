import { finite } from './lib/math';
import { address, whole } from './lib/slots';

/** Bytes of an entry: weighted CE, weighted KD, gradient norm, clip factor. */
const ENTRY: u32 = 16;

/** The ring's current entry: the counter `slot` of `state` names it, modulo `length`. */
function entryOf(ring: usize, state: usize, slot: u32, length: u32): usize {
  return ring + (load<u32>(state + (slot << 2)) % length) * ENTRY;
}

/** Slots: losses, weights, state, ring; rows, slot, length, accumulate. One piece, here and below. */
export function lossRingLoss(slots: usize, _from: u32, _to: u32): void {
  const losses = address(slots, 0);
  const weights = address(slots, 1);
  const rows = whole(slots, 4);
  let ce: f64 = 0;
  let kd: f64 = 0;
  for (let row: u32 = 0; row < rows; row++) {
    const at: usize = row << 3;
    const ceWeight = load<f32>(weights + at);
    const kdWeight = load<f32>(weights + at, 4);
    if (ceWeight !== 0) ce += ceWeight * load<f32>(losses + at);
    if (kdWeight !== 0) kd += kdWeight * load<f32>(losses + at, 4);
  }
  const entry = entryOf(address(slots, 3), address(slots, 2), whole(slots, 5), whole(slots, 6));
  if (whole(slots, 7) === 0) {
    store<f32>(entry, <f32>ce);
    store<f32>(entry, <f32>kd, 4);
    store<u64>(entry, 0, 8);
  } else {
    store<f32>(entry, load<f32>(entry) + <f32>ce);
    store<f32>(entry, load<f32>(entry, 4) + <f32>kd, 4);
  }
}

/** Slots: gradScale, state, ring; slot, length. */
export function lossRingNorm(slots: usize, _from: u32, _to: u32): void {
  const gradScale = address(slots, 0);
  const entry = entryOf(address(slots, 2), address(slots, 1), whole(slots, 3), whole(slots, 4));
  store<f32>(entry, load<f32>(gradScale, 4), 8);
  store<f32>(entry, load<f32>(gradScale), 12);
}

/** Slots: gradScale, state, ring; slot, fault, length. */
export function lossRingGuard(slots: usize, _from: u32, _to: u32): void {
  const gradScale = address(slots, 0);
  const state = address(slots, 1);
  const fault = state + (whole(slots, 4) << 2);
  const entry = entryOf(address(slots, 2), state, whole(slots, 3), whole(slots, 5));
  const good = finite(load<f32>(entry)) && finite(load<f32>(entry, 4));
  if (!good || load<f32>(gradScale) === 0) store<u32>(fault, 1);
  if (load<u32>(fault) !== 0) store<f32>(gradScale, 0);
}

/** Slots: state; slot. */
export function lossRingAdvance(slots: usize, _from: u32, _to: u32): void {
  const counter = address(slots, 0) + (whole(slots, 1) << 2);
  store<u32>(counter, load<u32>(counter) + 1);
}
