import { AlloyError } from '../util/errors.ts';
import type { GgufFile } from './gguf.ts';
import type { GgufSettings } from './ggufSettings.ts';

/** The divisor of each rotation frequency that Llama 3.1's rule gives with the usual low 1, high 4 and original context. */
function llama3Factors(
  count: number,
  theta: number,
  factor: number,
  context: number,
  low: number,
  high: number,
): number[] {
  return Array.from({ length: count }, (_, j) => {
    const wavelength = 2 * Math.PI * theta ** (j / count);
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/** Names the divisors in `rope_freqs.weight` as Llama 3's rule where they follow it, else gives them as they are. */
function namedFactors(factors: Float32Array, theta: number): Record<string, unknown> {
  const values = [...factors];
  const factor = Math.max(...values);
  const [low, high, context] = [1, 4, 8192];
  const rule = llama3Factors(values.length, theta, factor, context, low, high);
  if (factor > 1 && rule.every((value, j) => Math.abs(value - (values[j] ?? 0)) <= 2e-6 * value)) {
    return {
      rope_type: 'llama3',
      factor,
      low_freq_factor: low,
      high_freq_factor: high,
      original_max_position_embeddings: context,
    };
  }
  return { rope_type: 'factors', factors: values };
}

/** `rope_scaling` as `config.json` has it, from the metadata or from the divisors that a file brings along. */
export async function ropeScaling(
  gguf: GgufFile,
  settings: GgufSettings,
  theta: number,
): Promise<Record<string, unknown> | null> {
  if (gguf.tensors.has('rope_freqs.weight')) {
    const factors = await gguf.readFloat32('rope_freqs.weight');
    if (!factors.every((value) => Number.isFinite(value) && value > 0))
      throw new AlloyError(
        'bad-file',
        `${gguf.source.name}: the tensor "rope_freqs.weight" has a value that is not positive; the file is damaged, get it again.`,
      );
    return namedFactors(factors, theta);
  }
  const original = settings.optional('rope.scaling.original_context_length');
  const positions = original === undefined ? {} : { original_max_position_embeddings: original };
  const attention =
    settings.optional('rope.scaling.attn_factor') ?? settings.optional('rope.scaling.yarn_attn_factor');
  if (gguf.tensors.has('rope_factors_long.weight')) {
    return {
      rope_type: 'longrope',
      short_factor: [...(await gguf.readFloat32('rope_factors_short.weight'))],
      long_factor: [...(await gguf.readFloat32('rope_factors_long.weight'))],
      ...(attention !== undefined && { attention_factor: attention }),
      ...positions,
    };
  }
  const type = settings.text('rope.scaling.type');
  const factor = settings.optional('rope.scaling.factor');
  if (type === undefined || type === 'none' || factor === undefined || factor === 1) return null;
  if (type !== 'yarn') return { rope_type: type, factor, ...positions };
  const [fast, slow] = ['fast', 'slow'].map((end) => settings.optional(`rope.scaling.yarn_beta_${end}`));
  return {
    rope_type: type,
    factor,
    ...positions,
    ...(fast !== undefined && { beta_fast: fast }),
    ...(slow !== undefined && { beta_slow: slow }),
    // llama.cpp's factor comes on top of the paper's.
    ...(attention !== undefined &&
      attention !== 1 && { attention_factor: attention * (0.1 * Math.log(factor) + 1) }),
  };
}
