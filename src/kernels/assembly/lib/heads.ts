/** What the passes of attention share: their parameters, and where heads and what a thread keeps of them lie. */
import { OWN } from './blocks';
import { real, whole } from './slots';

/** What a thread keeps of the rows it owns, at these offsets of its scratch memory: a number each … */
export const PEAK: usize = 0;
export const TOTAL: usize = 128;
export const FACTOR: usize = 256;
export const LSE: usize = 384;
export const DELTA: usize = 512;
/** … blocks … */
export const SCORES: usize = 1024;
export const GRADIENTS: usize = 1024 + 64 * 128;
/** … and up to five times [width][OWN] or [OWN][width]: room for heads of 1,600 (`checkHeadWidth`). */
export const ROWS: usize = 1024 + 2 * 64 * 128;

/** The parameters of a dispatch; every thread has its own instance of the module. */
export let tokens: u32 = 0;
export let keyTokens: u32 = 0;
export let heads: u32 = 0;
export let kvHeads: u32 = 0;
export let width: u32 = 0;
export let window: u32 = 0;
export let scale: f32 = 0;
export let cap: f32 = 0;
/** Bytes from one token to the next in q and in k. */
export let queryStride: usize = 0;
export let keyStride: usize = 0;

export function readParameters(slots: usize, at: u32): void {
  tokens = whole(slots, at);
  keyTokens = whole(slots, at + 1);
  heads = whole(slots, at + 2);
  kvHeads = whole(slots, at + 3);
  width = whole(slots, at + 4);
  window = whole(slots, at + 5);
  scale = real(slots, at + 6);
  cap = real(slots, at + 7);
  queryStride = (<usize>(heads * width)) << 2;
  keyStride = (<usize>(kvHeads * width)) << 2;
}

export function tilesOf(rows: u32): u32 {
  return (rows + OWN - 1) / OWN;
}

/** Bytes from the start of q to a head of a sequence. */
export function queryPlace(sequence: u32, head: u32): usize {
  return <usize>sequence * tokens * queryStride + ((<usize>head * width) << 2);
}

export function keyPlace(sequence: u32, head: u32): usize {
  return <usize>sequence * keyTokens * keyStride + ((<usize>head * width) << 2);
}

/** A number of every row [B * T, H]: bytes from the start to that of a token. */
export function rowPlace(sequence: u32, token: u32, head: u32): usize {
  return (<usize>(sequence * tokens + token) * heads + head) << 2;
}

/** The first key that the query at `position` sees. */
export function firstKey(position: u32): u32 {
  return window > 0 ? position - min(position, window - 1) : 0;
}

/** Own rows in whole vectors for `products`. */
export function lanesOf(rows: u32): u32 {
  return (rows + 7) & ~7;
}
