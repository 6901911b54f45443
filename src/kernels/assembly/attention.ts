/**
 * Causal attention, forward; see `src/kernels/attention.ts`. A piece owns 32 rows of a head, as the lanes of blocks of
 * scores, and walks over the rows of the other side that they see.
 */
import { addWeighted, BLOCK, gather, OWN, PITCH, products, putScaled } from './lib/blocks';
import {
  cap,
  FACTOR,
  firstKey,
  heads,
  keyPlace,
  keyStride,
  keyTokens,
  kvHeads,
  lanesOf,
  PEAK,
  queryPlace,
  queryStride,
  ROWS,
  readParameters,
  rowPlace,
  SCORES,
  scale,
  TOTAL,
  tilesOf,
  tokens,
  width,
  window,
} from './lib/heads';
import { exp4 } from './lib/math';
import { LOWEST, places, reachOf, score, sees } from './lib/scores';
import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';

/**
 * Slots: cached?; q, k, v, (state), o, (lse); tokens, keyTokens, heads, kvHeads, width, window, scale, cap. Pieces: tiles of
 * 32 queries, the last first, of the heads of the sequences. With a cache there is a state and no lse; row 0 stands at
 * state[0] and rows from state[1] on are padding.
 */
export function attentionForward(slots: usize, from: u32, to: u32): void {
  const cached = whole(slots, 0) !== 0;
  const q = address(slots, 1);
  const k = address(slots, 2);
  const v = address(slots, 3);
  const o = address(slots, cached ? 5 : 4);
  const lse: usize = cached ? 0 : address(slots, 5);
  readParameters(slots, 6);
  const start: u32 = cached ? load<u32>(address(slots, 4)) : 0;
  const valid: u32 = cached ? min(tokens, load<u32>(address(slots, 4), 4)) : tokens;
  const tiles = tilesOf(tokens);
  for (let piece = from; piece < to; piece++) {
    const first = (tiles - 1 - (piece % tiles)) * OWN;
    const head = (piece / tiles) % heads;
    const sequence = piece / (tiles * heads);
    const rows = min(OWN, tokens - first);
    const own: usize = queryPlace(sequence, head) + <usize>first * queryStride;
    const other = keyPlace(sequence, head / (heads / kvHeads));
    const end = min(start + min(first + OWN, valid), keyTokens);
    forwardTile(q + own, k + other, v + other, o + own, start + first, rows, end);
    if (!cached) putLse(lse + rowPlace(sequence, first, head), rows);
  }
}

/** @param position of the first of the `rows` queries @param end of the keys that they see */
function forwardTile(q: usize, k: usize, v: usize, o: usize, position: u32, rows: u32, end: u32): void {
  const kept = scratch();
  const mine = kept + ROWS;
  const sums = mine + <usize>width * PITCH;
  const lanes = lanesOf(rows);
  gather(q, queryStride, rows, width, mine);
  memory.fill(sums, 0, <usize>width * PITCH);
  for (let own: u32 = 0; own < OWN; own++) {
    store<f32>(kept + PEAK + (own << 2), LOWEST);
    store<f32>(kept + TOTAL + (own << 2), 0);
  }
  for (let base = firstKey(position); base < end; base += BLOCK) {
    const count = min(BLOCK, end - base);
    const at: usize = <usize>base * keyStride;
    products(mine, lanes, k + at, keyStride, count, width, kept + SCORES);
    weigh(kept, lanes, count, position, base);
    putScaled(sums, kept + FACTOR, sums, (<usize>width) << 2, lanes, width);
    addWeighted(sums, lanes, kept + SCORES, v + at, keyStride, count, width);
  }
  for (let own: u32 = 0; own < rows; own++) {
    const total = load<f32>(kept + TOTAL + (own << 2));
    store<f32>(kept + FACTOR + (own << 2), total === 0 ? 0 : 1 / total);
  }
  putScaled(sums, kept + FACTOR, o, queryStride, rows, width);
}

/**
 * Products become weights e^(score - largest score so far); `FACTOR` is what earlier sums are to be multiplied with. A row
 * that has seen nothing yet gets weights of its own, which the factor of its first block wipes out.
 */
function weigh(kept: usize, lanes: u32, count: u32, position: u32, base: u32): void {
  const reach = i32x4.splat(reachOf(window));
  const end: usize = <usize>count * PITCH;
  for (let own: u32 = 0; own < lanes; own += 4) {
    const at: usize = kept + (own << 2);
    const block = at + SCORES;
    const before = v128.load(at, PEAK);
    const queries = places(position + own);
    let keys = i32x4.splat(base);
    let peak = before;
    for (let row: usize = 0; row < end; row += PITCH) {
      const seen = sees(queries, keys, reach);
      const scored = v128.bitselect(score(v128.load(block + row), scale, cap), f32x4.splat(LOWEST), seen);
      v128.store(block + row, scored);
      peak = f32x4.max(peak, scored);
      keys = i32x4.add(keys, i32x4.splat(1));
    }
    const factor = exp4(f32x4.sub(before, peak));
    let total = f32x4.mul(v128.load(at, TOTAL), factor);
    for (let row: usize = 0; row < end; row += PITCH) {
      const weight = exp4(f32x4.sub(v128.load(block + row), peak));
      v128.store(block + row, weight);
      total = f32x4.add(total, weight);
    }
    v128.store(at, peak, PEAK);
    v128.store(at, total, TOTAL);
    v128.store(at, factor, FACTOR);
  }
}

/** The log-sum-exp of the rows that `forwardTile` has just been through. */
function putLse(lse: usize, rows: u32): void {
  const kept = scratch();
  for (let own: u32 = 0; own < rows; own++) {
    const at: usize = kept + (own << 2);
    store<f32>(lse + ((<usize>own * heads) << 2), load<f32>(at, PEAK) + Mathf.log(load<f32>(at, TOTAL)));
  }
}
