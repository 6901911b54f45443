/** Memory of this thread alone, for what a kernel keeps while it runs (panels of a product, scores of a block). */

let base: usize = 0;

export function setScratch(address: usize): void {
  base = address;
}

/** `SCRATCH_BYTES` of `src/device/wasm/crew.ts`, aligned to 256 bytes; whatever was there last. */
export function scratch(): usize {
  return base;
}

/** Counts the dispatches of this thread: what a kernel has left in `scratch` stays while it is the same. */
export let dispatchNumber: u32 = 0;

export function beginDispatch(): void {
  dispatchNumber++;
}
