/**
 * SCE: select, calculate, erase (arXiv 2408.07990; methods D.2), on the CPU, one named tensor at a time. f64 inside,
 * f32 out. The three variants are the paper, the merging toolkit that made the published model (`fork`), and the
 * toolkit's later release (`upstream`):
 *
 * | | fork | paper | upstream |
 * |---|---|---|---|
 * | selection acts on | the coefficients | coefficients and deltas | coefficients and deltas |
 * | divided by the surviving coefficients | yes | no | yes, at least 1e-6 |
 * | equal coefficients | if all energies are 0 | if all energies are 0 | if the sum of mean squares < 1e-6 |
 *
 * The absolute guards are upstream's own and stay in that variant alone: light fine-tunes have mean squares near 1e-8
 * (methods J17).
 */
export type SceVariant = 'fork' | 'paper' | 'upstream';

/** A named tensor's change, flattened. */
export type Delta = Float32Array | Float64Array;

export interface SceOptions {
  readonly variant?: SceVariant;
  /** Share of the elements with non-zero variance that are selected, 0…1; 1 selects all. */
  readonly tau?: number;
  /** η in place of the computed ones, one a target. */
  readonly coefficients?: readonly number[];
}

export interface SceMerge {
  /** The merged delta, to be added to the pivot's tensor. */
  readonly delta: Float32Array;
  /** η: one coefficient a target, sum 1. */
  readonly coefficients: readonly number[];
  /** Elements that the selection kept; all of them for τ = 1. */
  readonly selected: number;
}

const UPSTREAM_GUARD = 1e-6;

/** @param deltas one for each target, of equal length; at least one. */
export function sceMerge(deltas: readonly Delta[], options: SceOptions = {}): SceMerge {
  const { variant = 'fork', tau = 1 } = options;
  const length = deltas[0]?.length ?? 0;
  const mask = tau < 1 ? selectByVariance(deltas, tau) : undefined;
  const coefficients = options.coefficients ?? energyCoefficients(deltas, mask, variant);
  const masked = variant === 'fork' ? undefined : mask;
  const delta = new Float32Array(length);
  for (let at = 0; at < length; at++) {
    if (masked !== undefined && masked[at] === 0) continue;
    let sum = 0;
    for (const one of deltas) sum += one[at] ?? 0;
    const sign = sum >= 0 ? 1 : -1;
    let merged = 0;
    let weight = 0;
    for (let target = 0; target < deltas.length; target++) {
      const value = deltas[target]?.[at] ?? 0;
      if (Math.sign(value) !== sign) continue;
      const coefficient = coefficients[target] ?? 0;
      merged += coefficient * value;
      weight += coefficient;
    }
    delta[at] = merged / divisor(weight, variant);
  }
  const selected = mask === undefined ? length : mask.reduce((sum, flag) => sum + flag, 0);
  return { delta, coefficients, selected };
}

function divisor(weight: number, variant: SceVariant): number {
  if (variant === 'paper') return 1;
  if (variant === 'upstream') return Math.max(weight, UPSTREAM_GUARD);
  return weight === 0 ? 1 : weight;
}

/**
 * 1 on the ⌊τ · (elements of non-zero variance)⌋ elements whose population variance over the targets is largest;
 * larger variance first, then lower index.
 */
export function selectByVariance(deltas: readonly Delta[], tau: number): Uint8Array {
  const length = deltas[0]?.length ?? 0;
  const variances = new Float64Array(length);
  let varying = 0;
  for (let at = 0; at < length; at++) {
    let mean = 0;
    for (const one of deltas) mean += one[at] ?? 0;
    mean /= deltas.length;
    let squares = 0;
    for (const one of deltas) squares += ((one[at] ?? 0) - mean) ** 2;
    variances[at] = squares / deltas.length;
    if (squares > 0) varying++;
  }
  const count = Math.floor(tau * varying);
  const mask = new Uint8Array(length);
  if (count === 0) return mask;
  const threshold = variances.slice().sort()[length - count] ?? 0;
  let left = count;
  for (let at = 0; at < length; at++) {
    if ((variances[at] ?? 0) > threshold) {
      mask[at] = 1;
      left--;
    }
  }
  for (let at = 0; at < length && left > 0; at++) {
    if (variances[at] !== threshold) continue;
    mask[at] = 1;
    left--;
  }
  return mask;
}

/** η of the selected elements' energies; see `coefficientsOf`. */
export function energyCoefficients(
  deltas: readonly Delta[],
  mask: Uint8Array | undefined,
  variant: SceVariant,
): readonly number[] {
  const energies = deltas.map((one) => {
    let energy = 0;
    for (let at = 0; at < one.length; at++) {
      if (mask === undefined || mask[at] === 1) energy += (one[at] ?? 0) ** 2;
    }
    return energy;
  });
  return coefficientsOf(energies, deltas[0]?.length ?? 0, variant);
}

/**
 * η_j = E_j / Σ E with E_j the selected elements' sum of squares; equal where that says nothing.
 * @param elements of the matrix, selected or not
 */
export function coefficientsOf(
  energies: readonly number[],
  elements: number,
  variant: SceVariant,
): readonly number[] {
  const total = energies.reduce((sum, energy) => sum + energy, 0);
  const meanSquares = total / Math.max(1, elements);
  const silent = variant === 'upstream' ? meanSquares < UPSTREAM_GUARD : total === 0;
  if (silent || !Number.isFinite(total)) return energies.map(() => 1 / energies.length);
  return energies.map((energy) => energy / total);
}
