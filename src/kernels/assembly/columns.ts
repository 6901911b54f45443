import { addRows } from './lib/rows';
import { address, whole } from './lib/slots';

/** Where a run begins in the fused rows, in bytes; the parameters start at slot `at`. */
function placeOf(slots: usize, at: u32, run: u32): usize {
  const stride = whole(slots, at + 1);
  const offset = whole(slots, at + 2);
  const groups = whole(slots, at + 3);
  const groupStride = whole(slots, at + 4);
  return (<usize>(run / groups) * stride + offset + (run % groups) * groupStride) * 4;
}

/** Slots: fused, packed; count, stride, offset, groups, groupStride, width. Pieces: runs. */
export function columnsTake(slots: usize, from: u32, to: u32): void {
  const fused = address(slots, 0);
  const packed = address(slots, 1);
  const bytes: usize = <usize>whole(slots, 7) * 4;
  for (let run = from; run < to; run++) {
    memory.copy(packed + <usize>run * bytes, fused + placeOf(slots, 2, run), bytes);
  }
}

/** Slots: accumulate?; packed, fused; count, stride, offset, groups, groupStride, width. Pieces: runs. */
export function columnsPut(slots: usize, from: u32, to: u32): void {
  const accumulate = whole(slots, 0) !== 0;
  const packed = address(slots, 1);
  const fused = address(slots, 2);
  const width = whole(slots, 8);
  const bytes: usize = <usize>width * 4;
  for (let run = from; run < to; run++) {
    const into: usize = fused + placeOf(slots, 3, run);
    const source: usize = packed + <usize>run * bytes;
    if (accumulate) addRows(into, into, source, width);
    else memory.copy(into, source, bytes);
  }
}
