/** The gradients of causal attention; see `attention.ts` and, for all at once, `src/kernels/attentionWhole.ts`. */
import { addWeighted, BLOCK, gather, OWN, PITCH, products, put, transpose } from './lib/blocks';
import {
  cap,
  DELTA,
  firstKey,
  GRADIENTS,
  heads,
  keyPlace,
  keyStride,
  keyTokens,
  kvHeads,
  LSE,
  lanesOf,
  queryPlace,
  queryStride,
  ROWS,
  readParameters,
  rowPlace,
  SCORES,
  scale,
  tilesOf,
  tokens,
  width,
  window,
} from './lib/heads';
import { addRows } from './lib/rows';
import { places, putGradients, reachOf, sees } from './lib/scores';
import { scratch } from './lib/scratch';
import { address } from './lib/slots';

/**
 * dq, and on the way delta = <do, o> of every row. Slots: q, k, v, o, grad, lse, dq, delta; tokens, keyTokens, heads,
 * kvHeads, width, window, scale, cap. Pieces: as `attentionForward`.
 */
export function attentionQueries(slots: usize, from: u32, to: u32): void {
  const q = address(slots, 0);
  const k = address(slots, 1);
  const v = address(slots, 2);
  const o = address(slots, 3);
  const grad = address(slots, 4);
  const lse = address(slots, 5);
  const dq = address(slots, 6);
  const delta = address(slots, 7);
  readParameters(slots, 8);
  const tiles = tilesOf(tokens);
  for (let piece = from; piece < to; piece++) {
    const first = (tiles - 1 - (piece % tiles)) * OWN;
    const head = (piece / tiles) % heads;
    const sequence = piece / (tiles * heads);
    const rows = min(OWN, tokens - first);
    const own: usize = queryPlace(sequence, head) + <usize>first * queryStride;
    const other = keyPlace(sequence, head / (heads / kvHeads));
    const line = rowPlace(sequence, first, head);
    keepLse(lse + line, rows);
    queriesTile(q + own, grad + own, o + own, k + other, v + other, dq + own, first, rows);
    putDelta(delta + line, rows);
  }
}

function keepLse(lse: usize, rows: u32): void {
  const kept = scratch() + LSE;
  memory.fill(kept, 0, PITCH);
  for (let own: u32 = 0; own < rows; own++) {
    store<f32>(kept + (own << 2), load<f32>(lse + ((<usize>own * heads) << 2)));
  }
}

function putDelta(delta: usize, rows: u32): void {
  const kept = scratch() + DELTA;
  for (let own: u32 = 0; own < rows; own++) {
    store<f32>(delta + ((<usize>own * heads) << 2), load<f32>(kept + (own << 2)));
  }
}

function queriesTile(
  q: usize,
  grad: usize,
  o: usize,
  k: usize,
  v: usize,
  dq: usize,
  position: u32,
  rows: u32,
): void {
  const kept = scratch();
  const mine = kept + ROWS;
  const pulls = mine + <usize>width * PITCH;
  const sums = pulls + <usize>width * PITCH;
  const lanes = lanesOf(rows);
  gather(q, queryStride, rows, width, mine);
  gather(grad, queryStride, rows, width, pulls);
  gather(o, queryStride, rows, width, sums);
  keepDelta(pulls, sums);
  memory.fill(sums, 0, <usize>width * PITCH);
  const end = min(position + rows, keyTokens);
  for (let base = firstKey(position); base < end; base += BLOCK) {
    const count = min(BLOCK, end - base);
    const at: usize = <usize>base * keyStride;
    products(mine, lanes, k + at, keyStride, count, width, kept + SCORES);
    products(pulls, lanes, v + at, keyStride, count, width, kept + GRADIENTS);
    gradientsOfQueries(kept, lanes, count, position, base);
    addWeighted(sums, lanes, kept + GRADIENTS, k + at, keyStride, count, width);
  }
  put(sums, dq, queryStride, rows, width);
}

/**
 * <do, o> of own rows, from both [width][OWN]: in the order of `products`, so that a row which sees one key alone pulls
 * nothing at all.
 */
function keepDelta(pulls: usize, outputs: usize): void {
  const kept = scratch() + DELTA;
  for (let own: u32 = 0; own < OWN; own += 4) {
    const at: usize = own << 2;
    let sum = f32x4.splat(0);
    for (let c: u32 = 0; c < width; c++) {
      const place: usize = at + <usize>c * PITCH;
      sum = f32x4.add(sum, f32x4.mul(v128.load(outputs + place), v128.load(pulls + place)));
    }
    v128.store(kept + at, sum);
  }
}

function gradientsOfQueries(kept: usize, lanes: u32, count: u32, position: u32, base: u32): void {
  const reach = i32x4.splat(reachOf(window));
  for (let own: u32 = 0; own < lanes; own += 4) {
    const at: usize = kept + (own << 2);
    const lse = v128.load(at, LSE);
    const delta = v128.load(at, DELTA);
    const queries = places(position + own);
    for (let n: u32 = 0; n < count; n++) {
      const cell: usize = at + <usize>n * PITCH;
      const seen = sees(queries, i32x4.splat(base + n), reach);
      putGradients(cell + SCORES, cell + GRADIENTS, lse, delta, seen, scale, cap);
    }
  }
}

/**
 * dk and dv. Slots: q, k, v, grad, lse, delta, dk, dv; tokens, keyTokens, heads, kvHeads, width, window, scale, cap. Pieces:
 * tiles of 32 keys of the key heads of the sequences; each walks over the queries that see them, head after head.
 */
export function attentionKeys(slots: usize, from: u32, to: u32): void {
  const q = address(slots, 0);
  const k = address(slots, 1);
  const v = address(slots, 2);
  const grad = address(slots, 3);
  const lse = address(slots, 4);
  const delta = address(slots, 5);
  const dk = address(slots, 6);
  const dv = address(slots, 7);
  readParameters(slots, 8);
  const tiles = tilesOf(keyTokens);
  const group = heads / kvHeads;
  for (let piece = from; piece < to; piece++) {
    const first = (piece % tiles) * OWN;
    const kvHead = (piece / tiles) % kvHeads;
    const sequence = piece / (tiles * kvHeads);
    const rows = min(OWN, keyTokens - first);
    const own: usize = keyPlace(sequence, kvHead) + <usize>first * keyStride;
    beginKeys(k + own, v + own, rows);
    for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
      const other = queryPlace(sequence, head);
      const line = rowPlace(sequence, 0, head);
      keysTile(q + other, grad + other, lse + line, delta + line, first, rows, 0, 0);
    }
    put(keySums(0), dk + own, keyStride, rows, width);
    put(keySums(1), dv + own, keyStride, rows, width);
  }
}

/** The sums of dk (0), dv (1) and, for a moment, dq (2). */
function keySums(which: u32): usize {
  return scratch() + ROWS + <usize>((2 + which) * width) * PITCH;
}

function beginKeys(k: usize, v: usize, rows: u32): void {
  const mine = scratch() + ROWS;
  gather(k, keyStride, rows, width, mine);
  gather(v, keyStride, rows, width, mine + <usize>width * PITCH);
  memory.fill(keySums(0), 0, <usize>width * PITCH * 2);
}

/**
 * Adds what the queries of one head pull at own keys, and to `dq` (unless it is 0) what the own keys `k` pull at them.
 */
function keysTile(
  q: usize,
  grad: usize,
  lse: usize,
  delta: usize,
  first: u32,
  rows: u32,
  k: usize,
  dq: usize,
): void {
  const kept = scratch();
  const mine = kept + ROWS;
  const lanes = lanesOf(rows);
  const end: u32 = window > 0 ? min(tokens, first + rows - 1 + window) : tokens;
  for (let base = first; base < end; base += BLOCK) {
    const count = min(BLOCK, end - base);
    const at: usize = <usize>base * queryStride;
    products(mine, lanes, q + at, queryStride, count, width, kept + SCORES);
    products(mine + <usize>width * PITCH, lanes, grad + at, queryStride, count, width, kept + GRADIENTS);
    gradientsOfKeys(kept, lse, delta, lanes, count, first, base);
    addWeighted(keySums(0), lanes, kept + GRADIENTS, q + at, queryStride, count, width);
    addWeighted(keySums(1), lanes, kept + SCORES, grad + at, queryStride, count, width);
    if (dq === 0) continue;
    for (let half: u32 = 0; half < count; half += OWN) {
      const gradients: usize = kept + GRADIENTS + <usize>half * PITCH;
      addToQueries(gradients, dq + at + <usize>half * queryStride, min(OWN, count - half), k, rows);
    }
  }
}

/** The other way round: the gradients [queries][keys], transposed, weight the keys. */
function addToQueries(gradients: usize, dq: usize, count: u32, k: usize, rows: u32): void {
  const turned: usize = scratch() + SCORES;
  const sums = keySums(2);
  const bytes: usize = (<usize>width) << 2;
  for (let own: u32 = 0; own < count; own += 4) {
    const a: usize = gradients + <usize>own * PITCH;
    transpose(a, a + PITCH, a + 2 * PITCH, a + 3 * PITCH, OWN, turned + (own << 2), PITCH);
  }
  memory.fill(sums, 0, <usize>OWN * bytes);
  addWeighted(sums, lanesOf(count), turned, k, keyStride, rows, width);
  for (let own: u32 = 0; own < count; own++) {
    const into = dq + <usize>own * queryStride;
    addRows(into, into, sums + <usize>own * bytes, width);
  }
}

function gradientsOfKeys(
  kept: usize,
  lses: usize,
  deltas: usize,
  lanes: u32,
  count: u32,
  first: u32,
  base: u32,
): void {
  const reach = i32x4.splat(reachOf(window));
  for (let n: u32 = 0; n < count; n++) {
    const line: usize = (<usize>(base + n) * heads) << 2;
    const lse = v128.load32_splat(lses + line);
    const delta = v128.load32_splat(deltas + line);
    const query = i32x4.splat(base + n);
    for (let own: u32 = 0; own < lanes; own += 4) {
      const cell: usize = kept + <usize>n * PITCH + (own << 2);
      const seen = sees(query, places(first + own), reach);
      putGradients(cell + SCORES, cell + GRADIENTS, lse, delta, seen, scale, cap);
    }
  }
}

/**
 * dq, dk, dv and delta at once, so that scores are made anew once instead of twice. Slots: q, k, v, o, grad, lse, delta, dq,
 * dk, dv; tokens, keyTokens, heads, kvHeads, width, window, scale, cap. Pieces: key heads of the sequences.
 */
export function attentionBackward(slots: usize, from: u32, to: u32): void {
  readParameters(slots, 10);
  for (let piece = from; piece < to; piece++) {
    const kvHead = piece % kvHeads;
    const sequence = piece / kvHeads;
    beginHeads(slots, sequence, kvHead);
    for (let first: u32 = 0; first < keyTokens; first += OWN) wholeKeysTile(slots, sequence, kvHead, first);
  }
}

/** delta of all queries of a key head; their dq begins at 0. */
function beginHeads(slots: usize, sequence: u32, kvHead: u32): void {
  const outputs = scratch() + ROWS;
  const pulls = outputs + <usize>width * PITCH;
  const group = heads / kvHeads;
  for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
    const line = rowPlace(sequence, 0, head);
    for (let first: u32 = 0; first < tokens; first += OWN) {
      const rows = min(OWN, tokens - first);
      const at: usize = queryPlace(sequence, head) + <usize>first * queryStride;
      gather(address(slots, 3) + at, queryStride, rows, width, outputs);
      gather(address(slots, 4) + at, queryStride, rows, width, pulls);
      keepDelta(pulls, outputs);
      putDelta(address(slots, 6) + line + ((<usize>first * heads) << 2), rows);
      for (let own: u32 = 0; own < rows; own++) {
        memory.fill(address(slots, 7) + at + <usize>own * queryStride, 0, (<usize>width) << 2);
      }
    }
  }
}

function wholeKeysTile(slots: usize, sequence: u32, kvHead: u32, first: u32): void {
  const group = heads / kvHeads;
  const rows = min(OWN, keyTokens - first);
  const own: usize = keyPlace(sequence, kvHead) + <usize>first * keyStride;
  const k = address(slots, 1) + own;
  beginKeys(k, address(slots, 2) + own, rows);
  for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
    const other = queryPlace(sequence, head);
    const line = rowPlace(sequence, 0, head);
    const q = address(slots, 0) + other;
    const grad = address(slots, 4) + other;
    const dq = address(slots, 7) + other;
    keysTile(q, grad, address(slots, 5) + line, address(slots, 6) + line, first, rows, k, dq);
  }
  put(keySums(0), address(slots, 8) + own, keyStride, rows, width);
  put(keySums(1), address(slots, 9) + own, keyStride, rows, width);
}
