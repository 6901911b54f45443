/**
 * Losses of a step go to a ring on the device, at an entry that a counter on the device names, so that recorded steps
 * run without the host and the host reads several steps at once. An entry is f32 [4] = (weighted CE, weighted KD,
 * gradient norm, clip factor). Sums are in a fixed order.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { GROUP_SUM } from './gradientNorm.ts';

export const RING_ENTRY = 4;

const ringLossKernel = defineKernel({
  name: 'lossRing.loss',
  buffers: { losses: read('f32'), weights: read('f32'), state: read('u32'), ring: write('f32') },
  params: { rows: 'u32', slot: 'u32', length: 'u32', accumulate: 'u32' },
  code: `${GROUP_SUM}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var ce = 0.0;
  var kd = 0.0;
  for (var row = lane; row < params.rows; row += 256u) {
    let weight = vec2<f32>(weights[2u * row], weights[2u * row + 1u]);
    if (weight.x != 0.0) { ce += weight.x * losses[2u * row]; }
    if (weight.y != 0.0) { kd += weight.y * losses[2u * row + 1u]; }
  }
  let total = vec2<f32>(group_sum(lane, ce), group_sum(lane, kd));
  if (lane == 0u) {
    let at = (state[params.slot] % params.length) * ${RING_ENTRY}u;
    if (params.accumulate == 0u) {
      ring[at] = total.x;
      ring[at + 1u] = total.y;
      ring[at + 2u] = 0.0;
      ring[at + 3u] = 0.0;
    } else {
      ring[at] += total.x;
      ring[at + 1u] += total.y;
    }
  }
}`,
  wasm: { name: 'lossRingLoss', pieces: () => 1 },
});

const ringNormKernel = defineKernel({
  name: 'lossRing.norm',
  buffers: { gradScale: read('f32'), state: read('u32'), ring: write('f32') },
  params: { slot: 'u32', length: 'u32' },
  code: `
@compute @workgroup_size(1)
fn main() {
  let at = (state[params.slot] % params.length) * ${RING_ENTRY}u;
  ring[at + 2u] = gradScale[1];
  ring[at + 3u] = gradScale[0];
}`,
  wasm: { name: 'lossRingNorm', pieces: () => 1 },
});

// Finiteness is read from the bits: drivers fold comparisons of NaN.
const ringGuardKernel = defineKernel({
  name: 'lossRing.guard',
  buffers: { gradScale: write('f32'), state: write('u32'), ring: read('f32') },
  params: { slot: 'u32', fault: 'u32', length: 'u32' },
  code: `
fn finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
@compute @workgroup_size(1)
fn main() {
  let at = (state[params.slot] % params.length) * ${RING_ENTRY}u;
  if (!finite(ring[at]) || !finite(ring[at + 1u]) || gradScale[0] == 0.0) { state[params.fault] = 1u; }
  if (state[params.fault] != 0u) { gradScale[0] = 0.0; }
}`,
  wasm: { name: 'lossRingGuard', pieces: () => 1 },
});

const advanceKernel = defineKernel({
  name: 'lossRing.advance',
  buffers: { state: write('u32') },
  params: { slot: 'u32' },
  code: `
@compute @workgroup_size(1)
fn main() { state[params.slot] += 1u; }`,
  wasm: { name: 'lossRingAdvance', pieces: () => 1 },
});

export interface RingPlace {
  /** Index into `state` of the counter that names the entry, modulo `length`. */
  readonly slot: number;
  /** Entries in the ring. */
  readonly length: number;
}

/**
 * Adds up weights·losses of `rows` rows into the ring's current entry.
 * @param buffers losses and weights f32 [rows, 2] of headLoss; state u32; ring f32 [length, 4]
 * @param accumulate false starts the entry (and clears its norm), true adds to it: for the later micro-batches of a step
 */
export function recordLoss<B>(
  buffers: { losses: B; weights: B; state: B; ring: B },
  { slot, length }: RingPlace,
  rows: number,
  accumulate = false,
): Dispatch<B> {
  return dispatch(ringLossKernel, buffers, { rows, slot, length, accumulate: accumulate ? 1 : 0 }, [1, 1, 1]);
}

/** Puts the norm and the factor of `clipScale` into the ring's current entry. */
export function recordNorm<B>(
  buffers: { gradScale: B; state: B; ring: B },
  { slot, length }: RingPlace,
): Dispatch<B> {
  return dispatch(ringNormKernel, buffers, { slot, length }, [1, 1, 1]);
}

/**
 * Sets the factor of `clipScale` to 0 in a step whose losses or gradient are not finite, and in all steps after it: the
 * parameters stay those of the last good step however late the host reads the ring.
 * @param fault index into `state` of the word that remembers it; 0 at first
 */
export function guardStep<B>(
  buffers: { gradScale: B; state: B; ring: B },
  { slot, length }: RingPlace,
  fault: number,
): Dispatch<B> {
  return dispatch(ringGuardKernel, buffers, { slot, fault, length }, [1, 1, 1]);
}

/** state[slot] += 1. */
export function advance<B>(buffers: { state: B }, slot: number): Dispatch<B> {
  return dispatch(advanceKernel, buffers, { slot }, [1, 1, 1]);
}
