import { exp1 } from './lib/math';
import { keyOf, precedes } from './lib/ordered';
import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';
import { firstPlace, largest } from './lib/softmax';

/** Parts of a row: `GROUPS` of `sampling.ts`. */
const GROUPS: u32 = 64;
const NONE: u32 = u32.MAX_VALUE;

/** Slots: logits, partials; vocabulary. Pieces: rows x parts of a row, each an equal run of logits. */
export function samplingGreedyPart(slots: usize, from: u32, to: u32): void {
  const logits = address(slots, 0);
  const partials = address(slots, 1);
  const vocabulary = whole(slots, 2);
  const share = (vocabulary + GROUPS - 1) / GROUPS;
  for (let piece = from; piece < to; piece++) {
    const begin = min((piece % GROUPS) * share, vocabulary);
    const count = min(vocabulary - begin, share);
    const z: usize = logits + (<usize>(piece / GROUPS) * vocabulary + begin) * 4;
    const best = largest(z, count, -Infinity);
    const place = firstPlace(z, count, best);
    store<u32>(partials + (piece << 3), place < count ? keyOf(best) : 0);
    store<u32>(partials + (piece << 3), place < count ? begin + place : NONE, 4);
  }
}

/** Slots: partials, state, tokens; slot, offset, stride. Pieces: rows. */
export function samplingGreedyPick(slots: usize, from: u32, to: u32): void {
  const partials = address(slots, 0);
  const state = address(slots, 1);
  const tokens = address(slots, 2);
  const place = load<u32>(state + (whole(slots, 3) << 2)) + whole(slots, 4);
  const stride = whole(slots, 5);
  if (place >= stride) return;
  for (let row = from; row < to; row++) {
    const part = partials + ((row * GROUPS) << 3);
    let key = load<u32>(part);
    let id = load<u32>(part, 4);
    for (let group: u32 = 1; group < GROUPS; group++) {
      const otherKey = load<u32>(part + (group << 3));
      const otherId = load<u32>(part + (group << 3), 4);
      if (!precedes(otherKey, otherId, key, id)) continue;
      key = otherKey;
      id = otherId;
    }
    store<u32>(tokens + ((row * stride + place) << 2), id);
  }
}

/** Slots: ids, logProbs, settings, state, tokens, chosen; kept. One piece. */
export function samplingNext(slots: usize, _from: u32, _to: u32): void {
  const ids = address(slots, 0);
  const logProbs = address(slots, 1);
  const settings = address(slots, 2);
  const state = address(slots, 3);
  const chosen = address(slots, 5);
  const kept = whole(slots, 6);
  const topK = load<u32>(settings, 4);
  const entries = topK === 0 ? kept : min(topK, kept);
  const position = load<u32>(state) + load<u32>(state, 4);
  const choice = load<f32>(settings) > 0 ? draw(ids, logProbs, settings, entries, position) : 0;
  const id = load<u32>(ids + (choice << 2));
  const logProb = load<f32>(logProbs + (choice << 2));
  store<u32>(address(slots, 4), id);
  store<u32>(state, position);
  store<u32>(state, 1, 4);
  store<u32>(chosen, id);
  store<f32>(chosen, logProb, 4);
}

/** The entry that the draw falls on, among the shortest run of the best whose share reaches top-P. */
function draw(ids: usize, logProbs: usize, settings: usize, entries: u32, position: u32): u32 {
  const weights = scratch();
  const topP = load<f32>(settings, 8);
  const total = weigh(ids, logProbs, weights, entries, load<f32>(settings));
  let mass: f32 = 0;
  let end: u32 = 0;
  while (end < entries) {
    mass += load<f32>(weights + (end << 2));
    end++;
    if (mass >= topP * total) break;
  }
  let left: f32 = (<f32>(philox(position, settings) >> 8) / 16777216.0) * mass;
  for (let e: u32 = 0; e < end; e++) {
    const weight = load<f32>(weights + (e << 2));
    left -= weight;
    if (left < 0 && weight > 0) return e;
  }
  return 0;
}

/** The entries' weights at a temperature, relative to the best, 0 for filler and NaN (of which the key is 0); returns their sum. */
function weigh(ids: usize, logProbs: usize, weights: usize, entries: u32, temperature: f32): f32 {
  const best = load<f32>(logProbs);
  let total: f32 = 0;
  for (let e: u32 = 0; e < entries; e++) {
    const logProb = load<f32>(logProbs + (e << 2));
    const usable = load<u32>(ids + (e << 2)) !== NONE && keyOf(logProb) !== 0;
    const weight: f32 = usable ? exp1((logProb - best) / max<f32>(temperature, 1e-6)) : 0;
    store<f32>(weights + (e << 2), weight);
    total += weight;
  }
  return total;
}

/** The first word of a Philox 4x32-10 block (see `src/util/random.ts`); key and stream are in the settings. */
function philox(position: u32, settings: usize): u32 {
  let key0 = load<u32>(settings, 12);
  let key1 = load<u32>(settings, 16);
  let c0 = position;
  let c1: u32 = 0;
  let c2 = load<u32>(settings, 20);
  let c3 = load<u32>(settings, 24);
  for (let round = 0; round < 10; round++) {
    const a: u64 = <u64>0xd2511f53 * c0;
    const b: u64 = <u64>0xcd9e8d57 * c2;
    c0 = <u32>(b >> 32) ^ c1 ^ key0;
    c1 = <u32>b;
    c2 = <u32>(a >> 32) ^ c3 ^ key1;
    c3 = <u32>a;
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
  return c0;
}
