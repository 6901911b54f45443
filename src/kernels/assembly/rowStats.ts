import { exp4 } from './lib/math';
import { address, whole } from './lib/slots';
import { firstPlace, rowPeak, sumOfExp } from './lib/softmax';
import { loadPart, sumOf } from './lib/vectors';

/** Slots: logits, labels, stats, best; rowStart, vocabulary. Pieces: rows of the chunk. */
export function rowStats(slots: usize, from: u32, to: u32): void {
  const logits = address(slots, 0);
  const labels = address(slots, 1);
  const stats = address(slots, 2);
  const best = address(slots, 3);
  const rowStart = whole(slots, 4);
  const vocabulary = whole(slots, 5);
  for (let row = from; row < to; row++) {
    const r = rowStart + row;
    const z: usize = logits + <usize>row * vocabulary * 4;
    const into: usize = stats + <usize>r * 12;
    const peak = rowPeak(z, vocabulary);
    const logTotal = Mathf.log(sumOfExp(z, vocabulary, peak, 0));
    const label = load<i32>(labels + (r << 2));
    const labelled = label >= 0 && <u32>label < vocabulary;
    store<f32>(into, peak);
    store<f32>(into, peak + logTotal, 4);
    store<f32>(into, labelled ? load<f32>(z + (label << 2)) - peak - logTotal : 0, 8);
    const place = firstPlace(z, vocabulary, peak);
    store<u32>(best + (r << 2), place < vocabulary ? place : u32.MAX_VALUE);
  }
}

/** Slots: logits, marks, mass; rowStart, vocabulary. Pieces: rows of the chunk. */
export function rowStatsMarkedMass(slots: usize, from: u32, to: u32): void {
  const logits = address(slots, 0);
  const marks = address(slots, 1);
  const mass = address(slots, 2);
  const rowStart = whole(slots, 3);
  const vocabulary = whole(slots, 4);
  for (let row = from; row < to; row++) {
    const z: usize = logits + <usize>row * vocabulary * 4;
    store<f32>(mass + ((rowStart + row) << 2), markedShare(z, marks, vocabulary));
  }
}

/** Σ exp(z) over the marked logits, divided by that over all; a word of marks is 32 logits. */
function markedShare(z: usize, marks: usize, vocabulary: u32): f32 {
  const peaks = f32x4.splat(rowPeak(z, vocabulary));
  const places = i32x4(1, 2, 4, 8);
  let all: f32 = 0;
  let marked: f32 = 0;
  for (let begin: u32 = 0; begin < vocabulary; begin += 32) {
    const count = min(vocabulary - begin, 32);
    let word = load<u32>(marks + (begin >> 3));
    let sums = f32x4.splat(0);
    let markedSums = f32x4.splat(0);
    for (let j: u32 = 0; j < count; j += 4) {
      const at: usize = z + ((begin + j) << 2);
      const lanes = count - j >= 4 ? v128.load(at) : loadPart(at, count - j, -Infinity);
      const terms = exp4(f32x4.sub(lanes, peaks));
      const chosen = i32x4.eq(v128.and(i32x4.splat(word), places), places);
      sums = f32x4.add(sums, terms);
      markedSums = f32x4.add(markedSums, v128.and(terms, chosen));
      word >>= 4;
    }
    all += sumOf(sums);
    marked += sumOf(markedSums);
  }
  return marked / all;
}
