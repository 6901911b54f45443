import type { RopeScaling } from '../kernels/ropeFrequencies.ts';
import { AlloyError } from '../util/errors.ts';
import type { Rope } from './config.ts';
import type { RawConfig, RawRope } from './configFields.ts';

/** The ropes of layers that see everything and of those with a window; one object where they are the same. */
export interface Ropes {
  readonly full: Rope;
  readonly sliding: Rope;
}

const DEFAULT_THETA = 10_000;

/**
 * Reads `rope_parameters` (flat or by layer type), or `rope_theta`, `rope_scaling` and `rope_local_base_freq`. Where a config
 * has both, `rope_scaling` counts, as in transformers.
 */
export function readRopes(raw: RawConfig, headDim: number, file: string, rotatesPart = false): Ropes {
  const older = Object.keys(raw.rope_scaling ?? {}).length > 0 ? raw.rope_scaling : undefined;
  const given = older ? undefined : raw.rope_parameters;
  const read = (rope: RawRope | null | undefined, theta: number | undefined) =>
    ropeOf(rope, theta, raw, rotatesPart ? partOf(rope, raw) : 1, headDim, file);
  if (given?.full_attention || given?.sliding_attention) {
    // Transformers 5 looks for `truncate` beside the kinds of layers, not within them.
    const { truncate } = given;
    const of = (rope: RawRope | null | undefined) => rope && { ...rope, truncate };
    return {
      full: read(of(given.full_attention), raw.rope_theta),
      sliding: read(of(given.sliding_attention), raw.rope_local_base_freq ?? raw.rope_theta),
    };
  }
  const full = read(given ?? older, raw.rope_theta);
  const sliding = raw.rope_local_base_freq === undefined ? full : read(undefined, raw.rope_local_base_freq);
  return { full, sliding };
}

function partOf(rope: RawRope | null | undefined, raw: RawConfig): number {
  return rope?.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1;
}

function ropeOf(
  rope: RawRope | null | undefined,
  theta: number | undefined,
  raw: RawConfig,
  part: number,
  headDim: number,
  file: string,
): Rope {
  const dim = Math.trunc(headDim * part);
  return {
    theta: rope?.rope_theta ?? theta ?? DEFAULT_THETA,
    rot: dim + (dim % 2),
    dim,
    scaling: scalingOf(rope, raw, dim, file),
  };
}

const SCALINGS = ['default', 'linear', 'dynamic', 'llama3', 'yarn', 'longrope'];

function scalingOf(
  rope: RawRope | null | undefined,
  raw: RawConfig,
  dim: number,
  file: string,
): RopeScaling | undefined {
  const named = rope?.rope_type ?? rope?.type ?? 'default';
  if (!rope || named === 'default') return undefined;
  // Phi-3's first configs call its LongRoPE so.
  const kind = named === 'su' || (named === 'yarn' && rope.short_factor) ? 'longrope' : named;
  const need = <F extends keyof RawRope>(field: F): NonNullable<RawRope[F]> => {
    const value = rope[field];
    if (value === undefined || value === null)
      throw new AlloyError(
        'bad-file',
        `${file}: rope scaling "${kind}" needs the field ${String(field)}; use the model's own config.json.`,
      );
    return value as NonNullable<RawRope[F]>;
  };
  const maxPositions = raw.max_position_embeddings ?? 2048;
  const originalPositions =
    raw.original_max_position_embeddings ?? rope.original_max_position_embeddings ?? maxPositions;
  switch (kind) {
    case 'linear':
      return { kind, factor: need('factor') };
    case 'dynamic':
      return { kind, factor: need('factor'), originalPositions: maxPositions };
    case 'llama3':
      return {
        kind,
        factor: need('factor'),
        lowFrequencyFactor: need('low_freq_factor'),
        highFrequencyFactor: need('high_freq_factor'),
        originalPositions,
      };
    case 'yarn': {
      const factor = rope.factor ?? maxPositions / originalPositions;
      return {
        kind,
        factor,
        originalPositions,
        betaFast: rope.beta_fast || 32,
        betaSlow: rope.beta_slow || 1,
        truncate: rope.truncate ?? true,
        attentionFactor: rope.attention_factor ?? yarnAttention(factor, rope),
      };
    }
    case 'longrope': {
      const factor = rope.factor ?? maxPositions / originalPositions;
      const [short, long] = [need('short_factor'), need('long_factor')];
      const wrong = [short, long].find(({ length }) => length !== Math.ceil(dim / 2));
      if (wrong)
        throw new AlloyError(
          'bad-file',
          `${file}: rope scaling "longrope" lists ${wrong.length} factors for ${Math.ceil(dim / 2)} rotated pairs; use the model's own config.json.`,
        );
      const attentionFactor =
        rope.attention_factor ??
        (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalPositions)));
      return { kind, short, long, originalPositions, attentionFactor };
    }
    case 'factors':
      return { kind, factors: need('factors') };
    default:
      throw new AlloyError(
        'unsupported',
        `${file}: rope scaling "${kind}" is not supported; ${SCALINGS.join(', ')} are.`,
      );
  }
}

/** The paper's factor of q and k, or the quotient of two such where a config has `mscale`s. */
function yarnAttention(factor: number, { mscale, mscale_all_dim: mscaleAll }: RawRope): number {
  const scale = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return mscale && mscaleAll ? scale(mscale) / scale(mscaleAll) : scale(1);
}
