/** cap·tanh(z / cap). */
export function softCapReference(z: number, cap: number): number {
  return cap * Math.tanh(z / cap);
}

/** The derivative of `softCapReference` in z. */
export function softCapSlopeReference(z: number, cap: number): number {
  return 1 / Math.cosh(z / cap) ** 2;
}
