import type { Delta } from './sce.ts';

/** What one matrix's deltas look like, one entry a source. */
export interface DeltaStatistics {
  /** Sums of squares. */
  readonly energies: readonly number[];
  /** L2 norms. */
  readonly norms: readonly number[];
  /** [S, S] inner products, row-major. */
  readonly products: Float64Array;
  /** Share of Σ|δ| that lies on elements where the sources' signs disagree, 0…1. */
  readonly conflictShare: number;
}

/** @param deltas one a source, of equal length. */
export function deltaStatistics(deltas: readonly Delta[]): DeltaStatistics {
  const sources = deltas.length;
  const length = deltas[0]?.length ?? 0;
  const products = new Float64Array(sources * sources);
  let total = 0;
  let conflicting = 0;
  for (let at = 0; at < length; at++) {
    let size = 0;
    let up = false;
    let down = false;
    for (let a = 0; a < sources; a++) {
      const value = deltas[a]?.[at] ?? 0;
      size += Math.abs(value);
      up ||= value > 0;
      down ||= value < 0;
      for (let b = 0; b <= a; b++) {
        products[a * sources + b] = (products[a * sources + b] ?? 0) + value * (deltas[b]?.[at] ?? 0);
      }
    }
    total += size;
    if (up && down) conflicting += size;
  }
  for (let a = 0; a < sources; a++) {
    for (let b = 0; b < a; b++) products[b * sources + a] = products[a * sources + b] ?? 0;
  }
  const energies = deltas.map((_, source) => products[source * (sources + 1)] ?? 0);
  return {
    energies,
    norms: energies.map(Math.sqrt),
    products,
    conflictShare: total > 0 ? conflicting / total : 0,
  };
}

/** Sum of squares. */
export function energy(delta: Delta): number {
  let sum = 0;
  for (const value of delta) sum += value * value;
  return sum;
}

/**
 * The factor that gives one delta the norm of another over all their matrices: the control "SFT-only scaled to the
 * merged delta's norm" (methods K), because what looks like a method's gain can be a longer step.
 *
 * @param from energies of the delta to be scaled, one a matrix.
 * @param to energies of the delta to match.
 * @returns 1 where there is nothing to scale.
 */
export function normFactor(from: readonly number[], to: readonly number[]): number {
  const sum = (energies: readonly number[]) => energies.reduce((total, one) => total + one, 0);
  return sum(from) > 0 ? Math.sqrt(sum(to) / sum(from)) : 1;
}

/**
 * One weight a source whose weighted sum of deltas comes nearest to a merged delta (least squares), and how much of it
 * no weights can reach: methods that act on single elements are shown, and moved by sliders, as their nearest weights.
 */
export interface NearestWeights {
  readonly weights: readonly number[];
  /** |merged − Σ w δ| / |merged|, 0…1; 0 where merged is 0. */
  readonly residual: number;
}

export function nearestWeights(merged: Delta, deltas: readonly Delta[]): NearestWeights {
  const { products, energies } = deltaStatistics(deltas);
  const right = deltas.map((one) => {
    let sum = 0;
    for (let at = 0; at < merged.length; at++) sum += (merged[at] ?? 0) * (one[at] ?? 0);
    return sum;
  });
  const weights = solveGram(products, right, Math.max(...energies, 0));
  const size = energy(merged);
  let missed = 0;
  for (let at = 0; at < merged.length; at++) {
    let sum = merged[at] ?? 0;
    deltas.forEach((one, source) => {
      sum -= (weights[source] ?? 0) * (one[at] ?? 0);
    });
    missed += sum * sum;
  }
  return { weights, residual: size > 0 ? Math.sqrt(missed / size) : 0 };
}

/** Relative size of a pivot element below which a source adds nothing new; its weight is then 0. */
const DEPENDENT = 1e-10;

/** Solves the Gram system by elimination in the given order; the matrix is symmetric and positive semi-definite. */
function solveGram(products: Float64Array, right: readonly number[], scale: number): readonly number[] {
  const n = right.length;
  const rows = right.map((value, row) => [...products.subarray(row * n, (row + 1) * n), value]);
  const used: boolean[] = [];
  for (let column = 0; column < n; column++) {
    const pivot = rows[column] ?? [];
    const size = pivot[column] ?? 0;
    used[column] = size > DEPENDENT * scale;
    if (!used[column]) continue;
    rows.forEach((row, at) => {
      if (at === column) return;
      const factor = (row[column] ?? 0) / size;
      for (let k = column; k <= n; k++) row[k] = (row[k] ?? 0) - factor * (pivot[k] ?? 0);
    });
  }
  return rows.map((row, at) => (used[at] ? (row[n] ?? 0) / (row[at] ?? 1) : 0));
}
