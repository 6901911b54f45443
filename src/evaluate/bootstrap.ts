import { AlloyError } from '../util/errors.ts';
import { randomStream } from '../util/random.ts';

/** One unit that is drawn as a whole: a conversation, or a family of conversations that tell one story. */
export interface Unit {
  readonly numerator: number;
  readonly denominator: number;
}

export interface Interval {
  /** The ratio of sums over all units. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions {
  readonly resamples: number;
  readonly seed: number;
  /** Share of the resamples between low and high; 0.95. */
  readonly level?: number;
}

/**
 * Percentile interval of Σ numerators / Σ denominators over units drawn with replacement. With nats over bytes this is
 * NLL per byte, with right answers over questions accuracy.
 *
 * @throws AlloyError `bad-data` without any unit.
 */
export function bootstrapInterval(units: readonly Unit[], options: BootstrapOptions): Interval {
  return resample([units], ([ratio]) => ratio ?? Number.NaN, options);
}

/**
 * Interval of the difference of two models' ratios, b − a, on the same units: both get the same draws, so what a hard
 * conversation adds to both cancels.
 *
 * @param a units of the first model, in the same order as `b`.
 */
export function pairedDifference(
  a: readonly Unit[],
  b: readonly Unit[],
  options: BootstrapOptions,
): Interval {
  if (a.length !== b.length) {
    throw new AlloyError('internal', `Paired units differ in number: ${a.length} and ${b.length}`);
  }
  return resample([a, b], ([first, second]) => (second ?? Number.NaN) - (first ?? Number.NaN), options);
}

/**
 * Adds up units that belong together, in order of first appearance.
 * @param family of each unit, e.g. the conversation's id or its family.
 */
export function unitsByFamily(units: readonly Unit[], family: readonly string[]): readonly Unit[] {
  const sums = new Map<string, { numerator: number; denominator: number }>();
  units.forEach(({ numerator, denominator }, index) => {
    const key = family[index] ?? '';
    const sum = sums.get(key) ?? { numerator: 0, denominator: 0 };
    sum.numerator += numerator;
    sum.denominator += denominator;
    sums.set(key, sum);
  });
  return [...sums.values()];
}

function resample(
  models: readonly (readonly Unit[])[],
  statistic: (ratios: readonly number[]) => number,
  { resamples, seed, level = 0.95 }: BootstrapOptions,
): Interval {
  const count = models[0]?.length ?? 0;
  if (count === 0) throw new AlloyError('bad-data', 'There is nothing to evaluate; give held-out data.');
  const all = Uint32Array.from({ length: count }, (_, index) => index);
  const value = statistic(models.map((units) => ratio(units, all)));
  const draws = randomStream(seed, 'evaluate.bootstrap');
  const drawn = new Uint32Array(count);
  const values = new Float64Array(resamples);
  for (let round = 0; round < resamples; round++) {
    for (let place = 0; place < count; place++) {
      drawn[place] = Math.floor(draws.uniform(round * count + place) * count);
    }
    values[round] = statistic(models.map((units) => ratio(units, drawn)));
  }
  const sorted = values.filter((one) => !Number.isNaN(one)).sort();
  const tail = (1 - level) / 2;
  return { value, low: quantile(sorted, tail), high: quantile(sorted, 1 - tail) };
}

function ratio(units: readonly Unit[], chosen: Uint32Array): number {
  let numerator = 0;
  let denominator = 0;
  for (const index of chosen) {
    numerator += units[index]?.numerator ?? 0;
    denominator += units[index]?.denominator ?? 0;
  }
  return numerator / denominator;
}

/** Linear between order statistics. */
function quantile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const [low, high] = [
    sorted[below] ?? Number.NaN,
    sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN,
  ];
  return low + (high - low) * (place - below);
}
