/**
 * The arguments of a dispatch: slots of four bytes, first the constants of the kernel, then the addresses of its buffers
 * in binding order, then its parameters.
 */

/** The address of a buffer. */
export function address(slots: usize, slot: u32): usize {
  return load<usize>(slots + (slot << 2));
}

export function whole(slots: usize, slot: u32): u32 {
  return load<u32>(slots + (slot << 2));
}

export function real(slots: usize, slot: u32): f32 {
  return load<f32>(slots + (slot << 2));
}
