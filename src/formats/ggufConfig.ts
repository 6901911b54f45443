import { AlloyError } from '../util/errors.ts';
import type { GgufFile } from './gguf.ts';

/** Architectures of `general.architecture` that can be read, and the `model_type` that Hugging Face gives them. */
const modelTypes: ReadonlyMap<string, string> = new Map([
  ['llama', 'llama'],
  ['qwen2', 'qwen2'],
  ['qwen3', 'qwen3'],
  ['gemma3', 'gemma3_text'],
]);

const classNames: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  gemma3_text: 'Gemma3ForCausalLM',
};

/** Gemma 3 files of the first months do not say these two; every released model has them. */
const gemma3Defaults = { slidingPattern: 6, localRopeBase: 10_000 } as const;
/** The one Gemma 3 that scales queries by hidden/heads instead of the head's width has this many layers (27B). */
const gemma3WideLayers = 62;

/** Typed access to `<architecture>.<key>` metadata; every complaint names file and key. */
class Settings {
  readonly #gguf: GgufFile;
  readonly #architecture: string;

  constructor(gguf: GgufFile, architecture: string) {
    this.#gguf = gguf;
    this.#architecture = architecture;
  }

  fail(key: string, what: string): AlloyError {
    return new AlloyError(
      'bad-file',
      `${this.#gguf.source.name}: the metadata ${this.#architecture}.${key} ${what}; get a file made for this model.`,
    );
  }

  optional(key: string): number | undefined {
    const value = this.#gguf.metadata.get(`${this.#architecture}.${key}`);
    if (value === undefined) return undefined;
    if (typeof value === 'number') return value;
    if (typeof value === 'object') {
      const [first, ...others] = value;
      if (typeof first === 'number' && others.every((other) => other === first)) return first;
    }
    throw this.fail(key, 'is not one number; models whose layers differ in it are not supported');
  }

  number(key: string): number {
    const value = this.optional(key);
    if (value === undefined) throw this.fail(key, 'is missing');
    return value;
  }

  /** A whole number ≥ 1. */
  size(key: string, fallback?: number): number {
    const value = this.optional(key) ?? fallback ?? this.number(key);
    if (!Number.isSafeInteger(value) || value < 1) throw this.fail(key, `is ${value}, not a size`);
    return value;
  }

  text(key: string): string | undefined {
    const value = this.#gguf.metadata.get(`${this.#architecture}.${key}`);
    return typeof value === 'string' ? value : undefined;
  }

  raw(key: string): unknown {
    return this.#gguf.metadata.get(`${this.#architecture}.${key}`);
  }
}

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

async function ropeScaling(
  gguf: GgufFile,
  settings: Settings,
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
  const type = settings.text('rope.scaling.type');
  const factor = settings.optional('rope.scaling.factor');
  if (type === undefined || type === 'none' || factor === undefined || factor === 1) return null;
  const original = settings.optional('rope.scaling.original_context_length');
  return {
    rope_type: type,
    factor,
    ...(original === undefined ? {} : { original_max_position_embeddings: original }),
  };
}

function gemma3Layers(settings: Settings, layers: number): string[] {
  const pattern = settings.raw('attention.sliding_window_pattern');
  if (Array.isArray(pattern)) {
    if (pattern.length !== layers)
      throw settings.fail(
        'attention.sliding_window_pattern',
        `has ${pattern.length} entries for ${layers} layers`,
      );
    return pattern.map((sliding) => (sliding ? 'sliding_attention' : 'full_attention'));
  }
  const every = settings.size('attention.sliding_window_pattern', gemma3Defaults.slidingPattern);
  return Array.from({ length: layers }, (_, i) =>
    (i + 1) % every === 0 ? 'full_attention' : 'sliding_attention',
  );
}

function gemma3Config(settings: Settings, layers: number, headDim: number, perHead: number) {
  const cap = settings.optional('final_logit_softcapping');
  return {
    hidden_activation: 'gelu_pytorch_tanh',
    layer_types: gemma3Layers(settings, layers),
    sliding_window: settings.size('attention.sliding_window'),
    rope_local_base_freq: settings.optional('rope.freq_base_swa') ?? gemma3Defaults.localRopeBase,
    query_pre_attn_scalar: layers === gemma3WideLayers ? perHead : headDim,
    attn_logit_softcapping: settings.optional('attn_logit_softcapping') ?? null,
    final_logit_softcapping: cap === undefined || cap === 0 ? null : cap,
    norm_includes_one: true,
  };
}

function tokenIds(gguf: GgufFile): Record<string, number> {
  const ids: Record<string, number> = {};
  for (const role of ['bos', 'eos', 'padding'] as const) {
    const id = gguf.metadata.get(`tokenizer.ggml.${role}_token_id`);
    if (typeof id === 'number') ids[`${role === 'padding' ? 'pad' : role}_token_id`] = id;
  }
  return ids;
}

/** `general.architecture`. @throws AlloyError `unsupported` for one that Alloy does not know, `bad-file` if missing */
export function ggufArchitecture(gguf: GgufFile): string {
  const file = gguf.source.name;
  const architecture = gguf.metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    throw new AlloyError(
      'bad-file',
      `${file}: the metadata general.architecture is missing; get the file again.`,
    );
  if (!modelTypes.has(architecture)) {
    throw new AlloyError(
      'unsupported',
      `${file}: general.architecture is ${JSON.stringify(architecture)}, which Alloy does not know; it reads ${[...modelTypes.keys()].join(', ')}.`,
    );
  }
  return architecture;
}

/**
 * The metadata of a GGUF file as the `config.json` of the same model, with the keys of published models (`rope_theta`,
 * `rope_scaling`, `rope_local_base_freq` …). What a `config.json` cannot say: `norm_includes_one` (Gemma's norm weights are
 * stored as 1 + w) and the rope type `factors` (a divisor for each frequency, where they are not Llama 3's).
 * `rms_norm_eps` and `rope_theta` are the f32 numbers of the file.
 */
export async function ggufConfig(gguf: GgufFile): Promise<Record<string, unknown>> {
  const architecture = ggufArchitecture(gguf);
  const settings = new Settings(gguf, architecture);
  if ((settings.optional('expert_count') ?? 0) > 0)
    throw new AlloyError(
      'unsupported',
      `${gguf.source.name}: ${architecture}.expert_count says that it is a mixture of experts; use a dense model.`,
    );
  const window = settings.optional('attention.sliding_window') ?? 0;
  const modelType = architecture === 'llama' && window > 0 ? 'mistral' : (modelTypes.get(architecture) ?? '');
  const layers = settings.size('block_count');
  if (layers > gguf.tensors.size)
    throw settings.fail('block_count', `is ${layers}, more than the file has tensors`);
  const hidden = settings.size('embedding_length');
  const heads = settings.size('attention.head_count');
  const headDim = settings.size('attention.key_length', hidden / heads);
  if (settings.size('attention.value_length', headDim) !== headDim)
    throw settings.fail('attention.value_length', `differs from attention.key_length ${headDim}`);
  const rotated = settings.size('rope.dimension_count', headDim);
  const theta = settings.optional('rope.freq_base') ?? (architecture === 'gemma3' ? 1e6 : 1e4);
  const vocabulary = gguf.tensor('token_embd.weight').shape[0] ?? 0;
  return {
    architectures: [classNames[modelType]],
    model_type: modelType,
    hidden_size: hidden,
    intermediate_size: settings.size('feed_forward_length'),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: settings.size('attention.head_count_kv', heads),
    head_dim: headDim,
    max_position_embeddings: settings.size('context_length'),
    rms_norm_eps: settings.number('attention.layer_norm_rms_epsilon'),
    rope_theta: theta,
    rope_scaling: await ropeScaling(gguf, settings, theta),
    ...(rotated === headDim ? {} : { partial_rotary_factor: rotated / headDim }),
    attention_bias: gguf.tensors.has('blk.0.attn_q.bias'),
    tie_word_embeddings: !gguf.tensors.has('output.weight'),
    vocab_size: vocabulary,
    ...tokenIds(gguf),
    ...(architecture === 'gemma3'
      ? gemma3Config(settings, layers, headDim, hidden / heads)
      : { hidden_act: 'silu', sliding_window: window > 0 ? window : null }),
  };
}
