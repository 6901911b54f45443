import type { MergeMethod } from '../deltaMerge.ts';

type Matrix = ArrayLike<number>;

/** δ_s = scale · B_s A_s of S concatenated adapters: a [S·rank, columns], b [rows, S·rank]; one array a source. */
export function factorDeltas(
  { a, b, scales, rank }: { a: Matrix; b: Matrix; scales: Matrix; rank: number },
  { sources, rows, columns }: { sources: number; rows: number; columns: number },
): Float64Array[] {
  return Array.from({ length: sources }, (_, s) => {
    const delta = new Float64Array(rows * columns);
    for (let n = 0; n < rows; n++)
      for (let k = 0; k < columns; k++) {
        let sum = 0;
        for (let q = 0; q < rank; q++)
          sum += (b[(n * sources + s) * rank + q] ?? 0) * (a[(s * rank + q) * columns + k] ?? 0);
        delta[n * columns + k] = (scales[s] ?? 0) * sum;
      }
    return delta;
  });
}

/** Variance over the sources, divided by their number. */
export function varianceReference(deltas: readonly Matrix[]): Float64Array {
  return Float64Array.from({ length: deltas[0]?.length ?? 0 }, (_, i) => {
    const values = deltas.map((delta) => delta[i] ?? 0);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  });
}

/** True for the floor(τ · count above 0) largest, larger first, then the lower index. */
export function selectReference(variance: Matrix, tau: number): boolean[] {
  const order = Array.from({ length: variance.length }, (_, i) => i).sort(
    (i, j) => (variance[j] ?? 0) - (variance[i] ?? 0) || i - j,
  );
  const varied = order.filter((i) => (variance[i] ?? 0) > 0).length;
  const keep = new Array<boolean>(variance.length).fill(tau >= 1);
  if (tau < 1) for (const i of order.slice(0, Math.floor(tau * varied))) keep[i] = true;
  return keep;
}

/** The merged delta; elements outside `mask` count as 0. */
export function mergeReference(
  deltas: readonly Matrix[],
  weights: Matrix,
  method: MergeMethod,
  mask?: readonly boolean[],
): Float64Array {
  return Float64Array.from({ length: deltas[0]?.length ?? 0 }, (_, i) => {
    const values = deltas.map((delta) => (mask && !mask[i] ? 0 : (delta[i] ?? 0)));
    if (method.kind === 'linear') return values.reduce((sum, x, s) => sum + (weights[s] ?? 0) * x, 0);
    const elected = values.reduce((a, b) => a + b, 0) >= 0 ? 1 : -1;
    const agreed = values.map((x, s) => (Math.sign(x) === elected ? (weights[s] ?? 0) : 0));
    const sum = values.reduce((total, x, s) => total + (agreed[s] ?? 0) * x, 0);
    const weight = agreed.reduce((a, b) => a + b, 0);
    return method.divide && weight !== 0 ? sum / weight : sum;
  });
}

/** SCE's weights: each source's share of the selected energy; equal when there is none. */
export function sceWeights(energies: readonly number[]): number[] {
  const total = energies.reduce((a, b) => a + b, 0);
  return energies.map((energy) => (total === 0 ? 1 / energies.length : energy / total));
}

export type SceVariant = 'paper' | 'fork' | 'upstream';

/** All of SCE for one matrix: select, calculate, erase, merge. Returns the merged delta. */
export function sceReference(deltas: readonly Matrix[], tau: number, variant: SceVariant): Float64Array {
  const mask = selectReference(varianceReference(deltas), tau);
  const energies = deltas.map((delta) => {
    let sum = 0;
    for (let i = 0; i < delta.length; i++) if (mask[i]) sum += (delta[i] ?? 0) ** 2;
    return sum;
  });
  const weights = sceWeights(energies);
  return mergeReference(
    deltas,
    weights,
    { kind: 'sce', divide: variant !== 'paper' },
    variant === 'fork' ? undefined : mask,
  );
}
