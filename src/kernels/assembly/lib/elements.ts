/** Flat arrays: a piece of the work is a block of neighbouring elements. `WASM_BLOCK` of `elementwise.ts`. */
const BLOCK: u32 = 1024;

/** The first element of piece `from`. */
export function firstElement(from: u32): u32 {
  return from * BLOCK;
}

/** The end of the pieces before `to`. */
export function endElement(to: u32, count: u32): u32 {
  return min(to * BLOCK, count);
}
