import { address, real, whole } from './lib/slots';
import { turnHeads } from './lib/turn';

/**
 * Slots: cached?; table, (state), x; rows, tokens, heads, headWidth, half, stride, offset, sign. Pieces: rows. With a cache,
 * rows from state[1] on are padding, for which the table may have no angles: they stay as they are.
 */
export function rope(slots: usize, from: u32, to: u32): void {
  const more: u32 = whole(slots, 0);
  const table = address(slots, 1);
  const start: u32 = more !== 0 ? load<u32>(address(slots, 2)) : 0;
  const last: u32 = more !== 0 ? min(to, load<u32>(address(slots, 2), 4)) : to;
  const x = address(slots, 2 + more);
  const tokens = whole(slots, 4 + more);
  const heads = whole(slots, 5 + more);
  const headWidth = whole(slots, 6 + more);
  const half = whole(slots, 7 + more);
  const stride = whole(slots, 8 + more);
  const offset = whole(slots, 9 + more);
  const sign = real(slots, 10 + more);
  for (let row = from; row < last; row++) {
    const angles: usize = table + <usize>((row % tokens) + start) * half * 8;
    const at: usize = x + (<usize>row * stride + offset) * 4;
    turnHeads(at, at, angles, heads, headWidth, half, sign);
  }
}
