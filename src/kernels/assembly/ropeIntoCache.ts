import { address, whole } from './lib/slots';
import { turnHeads } from './lib/turn';

/**
 * Slots: table, state, q, k, v, kCache, vCache; tokens, heads, kvHeads, headWidth, half, capacity. Pieces: rows. Rows from
 * state[1] on are padding; places from the capacity on are not kept.
 */
export function ropeIntoCache(slots: usize, from: u32, to: u32): void {
  const table = address(slots, 0);
  const state = address(slots, 1);
  const q = address(slots, 2);
  const k = address(slots, 3);
  const v = address(slots, 4);
  const kCache = address(slots, 5);
  const vCache = address(slots, 6);
  const heads = whole(slots, 8);
  const kvHeads = whole(slots, 9);
  const headWidth = whole(slots, 10);
  const half = whole(slots, 11);
  const capacity = whole(slots, 12);
  const rowBytes: usize = (<usize>(kvHeads * headWidth)) << 2;
  const last = min(to, load<u32>(state, 4));
  for (let row = from; row < last; row++) {
    const place = load<u32>(state) + row;
    const angles: usize = table + <usize>place * half * 8;
    const query: usize = q + <usize>row * heads * headWidth * 4;
    turnHeads(query, query, angles, heads, headWidth, half, 1);
    if (place >= capacity) continue;
    const at: usize = <usize>row * rowBytes;
    const into: usize = <usize>place * rowBytes;
    memory.copy(kCache + into, k + at, rowBytes);
    turnHeads(k + at, kCache + into, angles, kvHeads, headWidth, half, 1);
    memory.copy(vCache + into, v + at, rowBytes);
  }
}
