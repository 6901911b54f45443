import { AlloyError } from '../util/errors.ts';
import type { Delta } from './sce.ts';

/** A divisor this small beside its own terms would blow rounding up into the result. */
const SMALLEST_DIVISOR = 1e-6;

export interface LinearOptions {
  /** Divide by the sum of the weights, so that only their ratios matter. */
  readonly normalise: boolean;
}

/**
 * Σ w_j x_j, divided by Σ w_j where asked (methods D.3, merging.md 1.1). On tensors with `normalise` it is the linear
 * merge; on deltas without it is task arithmetic. f64 inside, f32 out.
 *
 * @throws AlloyError `bad-argument` where the weights don't fit the tensors or cancel.
 */
export function weightedSum(
  tensors: readonly Delta[],
  weights: readonly number[],
  { normalise }: LinearOptions,
): Float32Array {
  const factors = normalise ? normalisedWeights(weights) : weights;
  if (factors.length !== tensors.length) {
    throw new AlloyError(
      'bad-argument',
      `merge.weights has ${weights.length} entries for ${tensors.length} sources; give one for each source.`,
    );
  }
  const result = new Float32Array(tensors[0]?.length ?? 0);
  for (let at = 0; at < result.length; at++) {
    let sum = 0;
    for (let one = 0; one < tensors.length; one++) sum += (factors[one] ?? 0) * (tensors[one]?.[at] ?? 0);
    result[at] = sum;
  }
  return result;
}

/**
 * Weights divided by their sum.
 * @throws AlloyError `bad-argument` where they are not finite or sum to nearly 0.
 */
export function normalisedWeights(weights: readonly number[]): readonly number[] {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const size = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  if (!(Math.abs(sum) > SMALLEST_DIVISOR * size) || !Number.isFinite(sum)) {
    throw new AlloyError(
      'bad-argument',
      `merge.weights ${weights.join(', ')} sum to ${sum}; give weights whose sum is not 0.`,
    );
  }
  return weights.map((weight) => weight / sum);
}

/** The weight that each of n sources has where a recipe gives none: 1/n. */
export function equalWeights(count: number): readonly number[] {
  return Array.from({ length: count }, () => 1 / count);
}
