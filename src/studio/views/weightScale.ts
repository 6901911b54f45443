/** One colour scale for every merge weight on the page: sequential above zero, another hue below. */

export interface WeightScale {
  /** 0 unless some weight is negative. */
  readonly low: number;
  readonly high: number;
}

/** Where on a ramp black and white text change places (`tokens.css`). */
const deepFrom = { seq: 0.636, neg: 0.715 };

const tops = [0.5, 0.75, 1, 1.5, 2, 3, 5, 10];

/** Rounded outwards in coarse steps, so that the colours hold still while one weight moves. */
export function weightScale(weights: readonly number[]): WeightScale {
  const highest = Math.max(0, ...weights);
  const lowest = Math.min(0, ...weights);
  const outwards = (value: number) => tops.find((top) => top >= value - 1e-9) ?? Math.ceil(value);
  return { high: outwards(highest), low: lowest < 0 ? -outwards(-lowest) : 0 };
}

export interface WeightColour {
  /** A CSS colour from the page's ramps. */
  readonly background: string;
  /** Whether text on it needs the other ink. */
  readonly deep: boolean;
}

/** Ramps of `tokens.css`: four steps up, three down, mixed in a space that is even to the eye. */
export function weightColour(weight: number, { low, high }: WeightScale): WeightColour {
  const [share, name, steps] =
    weight >= 0
      ? [high > 0 ? Math.min(1, weight / high) : 0, 'seq', 4]
      : [low < 0 ? Math.min(1, weight / low) : 0, 'neg', 3];
  const place = share * steps;
  const from = Math.min(steps - 1, Math.floor(place));
  const mix = Math.round(100 * (place - from));
  const stop = (at: number) => (at === 0 ? 'var(--seq-0)' : `var(--${name}-${at})`);
  return {
    background: `color-mix(in oklab, ${stop(from + 1)} ${mix}%, ${stop(from)})`,
    deep: share >= (weight >= 0 ? deepFrom.seq : deepFrom.neg),
  };
}

/** ".33", "−.05", "1.2": what fits into a cell. */
export function shortWeight(weight: number): string {
  const text = Math.abs(weight).toFixed(2);
  const short = Math.abs(weight) >= 1 ? text.replace(/0$/, '') : text.slice(1);
  return `${weight < -0.004 ? '−' : ''}${short}`;
}
