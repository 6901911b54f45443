/** f32 as u32 in the same order, ±0 equal, NaN lowest: `ORDERED` of `topK.ts`. */

export function keyOf(x: f32): u32 {
  const bits = reinterpret<u32>(x);
  const size = bits & 0x7fffffff;
  if (size === 0) return 0x80000000;
  if (size > 0x7f800000) return 0;
  return bits >> 31 === 1 ? ~bits : bits | 0x80000000;
}

export function realOf(key: u32): f32 {
  return reinterpret<f32>(key >> 31 === 1 ? key & 0x7fffffff : ~key);
}

/** Larger first, the lower id first among equals. */
export function precedes(key: u32, id: u32, otherKey: u32, otherId: u32): bool {
  return key > otherKey || (key === otherKey && id < otherId);
}
