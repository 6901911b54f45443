import type { Activation } from '../activation.ts';

/** act(z) as PyTorch defines it, in f64. */
export function activationReference(z: number, activation: Activation): number {
  switch (activation) {
    case 'silu':
      return z / (1 + Math.exp(-z));
    case 'gelu_tanh':
      return 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)));
    case 'gelu':
      return z * normalDistribution(z);
    case 'gelu_quick':
      return z / (1 + Math.exp(-1.702 * z));
    case 'relu':
      return Math.max(z, 0);
    case 'relu_squared':
      return Math.max(z, 0) ** 2;
    default:
      return activation satisfies never;
  }
}

export function activationSlopeReference(z: number, activation: Activation): number {
  switch (activation) {
    case 'silu':
      return sigmoidSlope(z, 1);
    case 'gelu_quick':
      return sigmoidSlope(z, 1.702);
    case 'gelu_tanh': {
      const scale = Math.sqrt(2 / Math.PI);
      const t = Math.tanh(scale * (z + 0.044715 * z ** 3));
      return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * scale * (1 + 3 * 0.044715 * z * z);
    }
    case 'gelu':
      return normalDistribution(z) + (z * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI);
    case 'relu':
      return z > 0 ? 1 : 0;
    case 'relu_squared':
      return 2 * Math.max(z, 0);
    default:
      return activation satisfies never;
  }
}

function sigmoidSlope(z: number, sharpness: number): number {
  const s = 1 / (1 + Math.exp(-sharpness * z));
  return s + sharpness * z * s * (1 - s);
}

/** Φ(z): the series of erf near 0, the continued fraction of erfc in the tails (both to double precision). */
function normalDistribution(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  let tail: number;
  if (x < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 100; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    tail = 0.5 - sum / Math.sqrt(Math.PI);
  } else {
    let fraction = 0;
    for (let n = 80; n >= 1; n--) fraction = n / 2 / (x + fraction);
    tail = Math.exp(-x * x) / (2 * Math.sqrt(Math.PI) * (x + fraction));
  }
  return z < 0 ? tail : 1 - tail;
}

export function gatedReference(
  g: ArrayLike<number>,
  u: ArrayLike<number>,
  activation: Activation,
): Float64Array {
  return Float64Array.from(g, (z, i) => activationReference(z, activation) * (u[i] ?? Number.NaN));
}

export function gatedBackwardReference(
  g: ArrayLike<number>,
  u: ArrayLike<number>,
  dh: ArrayLike<number>,
  activation: Activation,
): { dg: Float64Array; du: Float64Array } {
  const dg = Float64Array.from(
    g,
    (z, i) => (dh[i] ?? Number.NaN) * (u[i] ?? Number.NaN) * activationSlopeReference(z, activation),
  );
  const du = Float64Array.from(g, (z, i) => (dh[i] ?? Number.NaN) * activationReference(z, activation));
  return { dg, du };
}
