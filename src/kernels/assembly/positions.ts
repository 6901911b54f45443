import { addRows } from './lib/rows';
import { address, whole } from './lib/slots';

/** Slots: cached?; x, table, (state), y; count, tokens, width, positions. Pieces: rows. */
export function positionsForward(slots: usize, from: u32, to: u32): void {
  const more: u32 = whole(slots, 0);
  const x = address(slots, 1);
  const table = address(slots, 2);
  const start: u32 = more !== 0 ? load<u32>(address(slots, 3)) : 0;
  const y = address(slots, 3 + more);
  const tokens = whole(slots, 5 + more);
  const width = whole(slots, 6 + more);
  const last = whole(slots, 7 + more) - 1;
  for (let row = from; row < to; row++) {
    const position = min((row % tokens) + start, last);
    const at: usize = <usize>row * width * 4;
    addRows(y + at, x + at, table + <usize>position * width * 4, width);
  }
}

/**
 * Slots: dy, dtable; count, rows, tokens, width, positions. Pieces: rows of the table that have a gradient; the last of the
 * table takes all that lie beyond.
 */
export function positionsBackward(slots: usize, from: u32, to: u32): void {
  const dy = address(slots, 0);
  const dtable = address(slots, 1);
  const rows = whole(slots, 3);
  const tokens = whole(slots, 4);
  const width = whole(slots, 5);
  const positions = whole(slots, 6);
  const rowBytes: usize = <usize>width * 4;
  for (let position = from; position < to; position++) {
    const last = position + 1 === positions ? tokens : position + 1;
    const into: usize = dtable + <usize>position * rowBytes;
    for (let first: u32 = 0; first < rows; first += tokens) {
      for (let t = position; t < last; t++) {
        addRows(into, into, dy + <usize>(first + t) * rowBytes, width);
      }
    }
  }
}
