import {
  column,
  deltasOf,
  elementAt,
  height,
  keptLanes,
  nextSource,
  readShape,
  readSource,
  sourceCount,
  takePiece,
  top,
  width,
} from './lib/deltas';
import { address, whole } from './lib/slots';
import { load4, store4 } from './lib/vectors';

const LINEAR: u32 = 0;
const DIVIDED: u32 = 2;

/**
 * Slots: method (0 linear, 1 sce, 2 sce divided), selected?, dense?, sources; a, b, scales or deltas, weights, (variance,
 * selection), delta; rows, columns, rank, weightStart, accumulate. Pieces: tiles of 4 x 256.
 */
export function deltaMerge(slots: usize, from: u32, to: u32): void {
  const method = whole(slots, 0);
  const isSelected = whole(slots, 1) !== 0;
  const next = readSource(slots, 2);
  const more: u32 = isSelected ? 2 : 0;
  const variance = address(slots, next + 1);
  const selection = address(slots, next + 2);
  const delta = address(slots, next + 1 + more);
  readShape(slots, next + 2 + more);
  const weights = address(slots, next) + (whole(slots, next + 5 + more) << 2);
  const accumulate = whole(slots, next + 6 + more) !== 0;
  for (let piece = from; piece < to; piece++) {
    takePiece(piece);
    for (let row: u32 = 0; row < height; row++) {
      const at = elementAt(top + row, column);
      const keys: usize = isSelected ? variance + (at << 2) : 0;
      mergeRow(delta + (at << 2), row, width, weights, method, keys, at, selection, accumulate);
    }
  }
}

/** One row of a tile. @param keys variances of its elements, 0 where all elements count */
function mergeRow(
  into: usize,
  row: u32,
  width: u32,
  weights: usize,
  method: u32,
  keys: usize,
  at: u32,
  selection: usize,
  accumulate: bool,
): void {
  const deltas = deltasOf(0, row);
  for (let j: u32 = 0; j < width; j += 4) {
    const left = width - j;
    const place = into + (j << 2);
    let merged =
      method === LINEAR
        ? linear(deltas + (j << 2), left, weights)
        : elected(deltas + (j << 2), left, weights, method);
    // Without the deltas all methods give 0.
    if (keys !== 0) merged = v128.and(merged, keptLanes(keys + (j << 2), at + j, left, selection));
    store4(place, accumulate ? f32x4.add(load4(place, left), merged) : merged, left);
  }
}

function linear(deltas: usize, left: u32, weights: usize): v128 {
  const sources = sourceCount();
  const stride = nextSource();
  let sum = f32x4.splat(0);
  for (let s: u32 = 0; s < sources; s++) {
    const weight = v128.load32_splat(weights + (s << 2));
    sum = f32x4.add(sum, f32x4.mul(weight, load4(deltas + s * stride, left)));
  }
  return sum;
}

/** The sum over those that agree with the sign of the plain sum. */
function elected(deltas: usize, left: u32, weights: usize, method: u32): v128 {
  const sources = sourceCount();
  const stride = nextSource();
  const zero = f32x4.splat(0);
  let total = zero;
  for (let s: u32 = 0; s < sources; s++) total = f32x4.add(total, load4(deltas + s * stride, left));
  const positive = f32x4.ge(total, zero);
  let sum = zero;
  let weight = zero;
  for (let s: u32 = 0; s < sources; s++) {
    const delta = load4(deltas + s * stride, left);
    const agrees = v128.bitselect(f32x4.gt(delta, zero), f32x4.lt(delta, zero), positive);
    const vote = v128.and(v128.load32_splat(weights + (s << 2)), agrees);
    sum = f32x4.add(sum, f32x4.mul(vote, delta));
    weight = f32x4.add(weight, vote);
  }
  if (method !== DIVIDED) return sum;
  return f32x4.div(sum, v128.bitselect(f32x4.splat(1), weight, f32x4.eq(weight, zero)));
}
