import type { RopeScaling } from '../kernels/rope.ts';
import { AlloyError } from '../util/errors.ts';
import type { Rope } from './config.ts';
import type { RawConfig, RawRope } from './configFields.ts';

/** The ropes of layers that see everything and of those with a window; one object where they are the same. */
export interface Ropes {
  readonly full: Rope;
  readonly sliding: Rope;
}

const DEFAULT_THETA = 10_000;

/** Reads `rope_parameters` (flat or by layer type), or `rope_theta`, `rope_scaling` and `rope_local_base_freq`. */
export function readRopes(raw: RawConfig, headDim: number, file: string): Ropes {
  const given = raw.rope_parameters;
  const read = (rope: RawRope | null | undefined, theta: number | undefined) =>
    ropeOf(rope, theta, raw, headDim, file);
  if (given?.full_attention || given?.sliding_attention) {
    return {
      full: read(given.full_attention, raw.rope_theta),
      sliding: read(given.sliding_attention, raw.rope_local_base_freq ?? raw.rope_theta),
    };
  }
  const full = read(given ?? raw.rope_scaling, raw.rope_theta);
  const sliding = raw.rope_local_base_freq === undefined ? full : read(undefined, raw.rope_local_base_freq);
  return { full, sliding };
}

function ropeOf(
  rope: RawRope | null | undefined,
  theta: number | undefined,
  raw: RawConfig,
  headDim: number,
  file: string,
): Rope {
  const part = rope?.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1;
  const dim = Math.trunc(headDim * part);
  return {
    theta: rope?.rope_theta ?? theta ?? DEFAULT_THETA,
    rot: dim + (dim % 2),
    dim,
    scaling: scalingOf(rope, raw, file),
  };
}

function scalingOf(rope: RawRope | null | undefined, raw: RawConfig, file: string): RopeScaling | undefined {
  const kind = rope?.rope_type ?? rope?.type ?? 'default';
  if (!rope || kind === 'default') return undefined;
  const need = (field: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = rope[field];
    if (value === undefined || value === null)
      throw new AlloyError(
        'bad-file',
        `${file}: rope scaling "${kind}" needs the field ${field}; use the model's own config.json.`,
      );
    return value;
  };
  if (kind === 'linear') return { kind, factor: need('factor') };
  if (kind === 'llama3') {
    return {
      kind,
      factor: need('factor'),
      lowFrequencyFactor: need('low_freq_factor'),
      highFrequencyFactor: need('high_freq_factor'),
      originalPositions: rope.original_max_position_embeddings ?? raw.max_position_embeddings ?? 8192,
    };
  }
  throw new AlloyError(
    'unsupported',
    `${file}: rope scaling "${kind}" is not supported; default, linear and llama3 are.`,
  );
}
