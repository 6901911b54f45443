/**
 * Angles of rotary position embeddings, as the checkpoints were trained with them: rounded to f32 where PyTorch rounds,
 * since at position 10^4 a rounding moves an angle by up to 6e-4.
 */
import { AlloyError } from '../util/errors.ts';

export type RopeScaling =
  /** Position interpolation: every frequency is divided by `factor`. */
  | { readonly kind: 'linear'; readonly factor: number }
  /**
   * Llama 3: wavelengths above originalPositions / lowFrequencyFactor are stretched by `factor`, those below
   * originalPositions / highFrequencyFactor are kept, the ones between are blended.
   */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    }
  /** NTK-aware: beyond `originalPositions` the base grows with the length of the sequence. */
  | { readonly kind: 'dynamic'; readonly factor: number; readonly originalPositions: number }
  /**
   * YaRN (Peng et al. 2023): frequencies that turn more than `betaFast` times in originalPositions are kept, those below
   * `betaSlow` turns divided by `factor`, with a ramp between; q and k are multiplied by `attentionFactor`.
   */
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Whether the ends of the ramp are rounded to whole pairs. */
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  /** LongRoPE: a divisor for every frequency, other ones once a sequence is longer than `originalPositions`. */
  | {
      readonly kind: 'longrope';
      readonly short: readonly number[];
      readonly long: readonly number[];
      readonly originalPositions: number;
      readonly attentionFactor: number;
    }
  /** A divisor for every frequency. */
  | { readonly kind: 'factors'; readonly factors: readonly number[] };

export interface RopeTableSpec {
  readonly theta: number;
  /** Rotated elements of a head; even. */
  readonly rot: number;
  /** The divisor of the exponent; `rot` where left out. */
  readonly dim?: number | undefined;
  /** Rows of the table: the longest context. */
  readonly positions: number;
  readonly scaling?: RopeScaling | undefined;
  /**
   * Tokens of the sequence: `dynamic` and `longrope` depend on it. A row that lies beyond has the angles of a sequence that
   * ends there, as when tokens are generated one by one. 0 where left out.
   */
  readonly length?: number | undefined;
}

/** Angles per position, [rot / 2], in a sequence of `length` tokens. */
export function ropeFrequencies(spec: Omit<RopeTableSpec, 'positions'>): Float32Array {
  const { rot, scaling } = spec;
  const plain = plainFrequencies(spec);
  switch (scaling?.kind) {
    case undefined:
      return plain;
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'llama3':
      return plain.map((frequency) => llama3Frequency(frequency, scaling));
    case 'dynamic':
      return plainFrequencies({ ...spec, theta: dynamicTheta(spec, scaling) });
    case 'yarn':
      return plain.map((frequency, pair) => {
        const share = yarnShare(spec, scaling, pair);
        return (frequency / scaling.factor) * (1 - share) + frequency * share;
      });
    case 'longrope': {
      const long = (spec.length ?? 0) > scaling.originalPositions;
      return divided(spec, long ? scaling.long : scaling.short);
    }
    case 'factors':
      return divided(spec, scaling.factors);
    default:
      throw new AlloyError('internal', `a rope of ${rot} with ${scaling satisfies never}`);
  }
}

function plainFrequencies({ theta, rot, dim = rot }: Omit<RopeTableSpec, 'positions'>): Float32Array {
  return Float32Array.from(
    { length: rot / 2 },
    (_, j) => 1 / Math.fround(theta ** Math.fround((2 * j) / dim)),
  );
}

function divided({ theta, rot, dim = rot }: Omit<RopeTableSpec, 'positions'>, factors: readonly number[]) {
  return Float32Array.from({ length: rot / 2 }, (_, j) => {
    const power = Math.fround(theta ** Math.fround((2 * j) / dim));
    return 1 / Math.fround(Math.fround(factors[j] ?? Number.NaN) * power);
  });
}

function llama3Frequency(frequency: number, scaling: RopeScaling & { readonly kind: 'llama3' }): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalPositions } = scaling;
  const turns = (originalPositions * frequency) / (2 * Math.PI);
  if (turns < lowFrequencyFactor) return frequency / factor;
  if (turns > highFrequencyFactor) return frequency;
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - kept) * frequency) / factor + kept * frequency;
}

function dynamicTheta(
  { theta, rot, dim = rot, length = 0 }: Omit<RopeTableSpec, 'positions'>,
  { factor, originalPositions }: RopeScaling & { readonly kind: 'dynamic' },
): number {
  if (length <= originalPositions) return theta;
  const stretch = Math.fround((factor * length) / originalPositions) - (factor - 1);
  return Math.fround(theta * stretch ** (dim / (dim - 2)));
}

/** How much of the plain frequency of a pair stays: 1 before the ramp, 0 behind it. */
function yarnShare(
  { theta, rot, dim = rot }: Omit<RopeTableSpec, 'positions'>,
  { originalPositions, betaFast, betaSlow, truncate }: RopeScaling & { readonly kind: 'yarn' },
  pair: number,
): number {
  const pairOf = (turns: number) =>
    (dim * Math.log(originalPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = truncate
    ? [Math.floor(pairOf(betaFast)), Math.ceil(pairOf(betaSlow))]
    : [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(first, 0);
  const high = Math.min(last, dim - 1);
  const width = low === high ? 0.001 : high - low;
  return 1 - Math.min(1, Math.max(0, (pair - low) / width));
}

/** What q and k are multiplied by beside the turn. */
function attentionFactor(scaling: RopeScaling | undefined): number {
  return scaling?.kind === 'yarn' || scaling?.kind === 'longrope' ? Math.fround(scaling.attentionFactor) : 1;
}

/** Whether the angles of a position depend on how long the sequence is. */
export function dependsOnLength(scaling: RopeScaling | undefined): boolean {
  return scaling?.kind === 'dynamic' || scaling?.kind === 'longrope';
}

/** Table [positions, rot / 2, 2] of (cos, sin), computed in f64 from f32 angles. */
export function ropeTable(spec: RopeTableSpec): Float32Array<ArrayBuffer> {
  const { positions, rot, scaling, length = 0 } = spec;
  const factor = attentionFactor(scaling);
  const table = new Float32Array(positions * rot);
  let frequencies = ropeFrequencies(spec);
  let at = 0;
  for (let position = 0; position < positions; position++) {
    if (position >= length && dependsOnLength(scaling))
      frequencies = ropeFrequencies({ ...spec, length: position + 1 });
    for (const frequency of frequencies) {
      const angle = Math.fround(position * frequency);
      table[at++] = factor * Math.cos(angle);
      table[at++] = factor * Math.sin(angle);
    }
  }
  return table;
}
