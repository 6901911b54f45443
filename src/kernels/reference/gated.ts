import type { Activation } from '../activation.ts';

/** act(z) as PyTorch defines it, in f64. */
function act(z: number, activation: Activation): number {
  if (activation === 'silu') return z / (1 + Math.exp(-z));
  return 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)));
}

function actSlope(z: number, activation: Activation): number {
  if (activation === 'silu') {
    const s = 1 / (1 + Math.exp(-z));
    return s + z * s * (1 - s);
  }
  const scale = Math.sqrt(2 / Math.PI);
  const t = Math.tanh(scale * (z + 0.044715 * z ** 3));
  return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * scale * (1 + 3 * 0.044715 * z * z);
}

export function gatedReference(
  g: ArrayLike<number>,
  u: ArrayLike<number>,
  activation: Activation,
): Float64Array {
  return Float64Array.from(g, (z, i) => act(z, activation) * (u[i] ?? Number.NaN));
}

export function gatedBackwardReference(
  g: ArrayLike<number>,
  u: ArrayLike<number>,
  dh: ArrayLike<number>,
  activation: Activation,
): { dg: Float64Array; du: Float64Array } {
  const dg = Float64Array.from(
    g,
    (z, i) => (dh[i] ?? Number.NaN) * (u[i] ?? Number.NaN) * actSlope(z, activation),
  );
  const du = Float64Array.from(g, (z, i) => (dh[i] ?? Number.NaN) * act(z, activation));
  return { dg, du };
}
