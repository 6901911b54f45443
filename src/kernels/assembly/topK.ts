import { keyOf, precedes, realOf } from './lib/ordered';
import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';
import { LOWEST, rowPeak, sumOfExp } from './lib/softmax';

/** An entry of the list: the logit's key and its id. */
const ENTRY: u32 = 8;
const NONE: u32 = u32.MAX_VALUE;

/** Slots: logits, ids, logProbs; rowStart, vocabulary, kept. Pieces: rows of the chunk. */
export function topK(slots: usize, from: u32, to: u32): void {
  const logits = address(slots, 0);
  const ids = address(slots, 1);
  const logProbs = address(slots, 2);
  const rowStart = whole(slots, 3);
  const vocabulary = whole(slots, 4);
  const kept = whole(slots, 5);
  const list = scratch();
  for (let row = from; row < to; row++) {
    const z: usize = logits + <usize>row * vocabulary * 4;
    const at: usize = <usize>(rowStart + row) * kept * 4;
    const peak = rowPeak(z, vocabulary);
    const logTotal = Mathf.log(sumOfExp(z, vocabulary, peak, 0));
    const found = collect(z, vocabulary, list, kept);
    for (let e: u32 = 0; e < kept; e++) {
      const entry = list + e * ENTRY;
      const used = e < found;
      store<u32>(ids + at + (e << 2), used ? load<u32>(entry, 4) : NONE);
      store<f32>(logProbs + at + (e << 2), used ? realOf(load<u32>(entry)) - peak - logTotal : LOWEST);
    }
  }
}

/** The `kept` first of a row in the order of `precedes`; returns how many there are. */
function collect(z: usize, count: u32, list: usize, kept: u32): u32 {
  let found: u32 = 0;
  let j: u32 = 0;
  for (; j < count && found < kept; j++)
    found += insert(list, found, kept, keyOf(load<f32>(z + (j << 2))), j);
  // What is not above the last entry (nor NaN) cannot enter; nearly everything is passed by in fours.
  const end = count & ~3;
  for (; j < count; ) {
    const least = load<u32>(list + (kept - 1) * ENTRY);
    const bound = f32x4.splat(realOf(least));
    if ((j & 3) === 0) {
      while (j < end && v128.any_true(f32x4.gt(v128.load(z + (j << 2)), bound)) === 0 && least !== 0) j += 4;
      if (j >= count) break;
    }
    const key = keyOf(load<f32>(z + (j << 2)));
    if (key > least) insert(list, found, kept, key, j);
    j++;
  }
  return found;
}

/** Puts a logit at its place, behind its equals; the last of a full list goes. Returns 1 where the list has grown. */
function insert(list: usize, found: u32, kept: u32, key: u32, id: u32): u32 {
  const grows = found < kept;
  let place = grows ? found : kept - 1;
  for (; place > 0; place--) {
    const before = list + (place - 1) * ENTRY;
    if (!precedes(key, id, load<u32>(before), load<u32>(before, 4))) break;
    store<u64>(before, load<u64>(before), ENTRY);
  }
  store<u32>(list + place * ENTRY, key);
  store<u32>(list + place * ENTRY, id, 4);
  return grows ? 1 : 0;
}
