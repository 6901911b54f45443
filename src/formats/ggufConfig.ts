import { AlloyError } from '../util/errors.ts';
import type { GgufFile } from './gguf.ts';
import { GGUF_FAMILIES, type GgufFamily } from './ggufFamilies.ts';
import { ropeScaling } from './ggufRope.ts';
import { GgufSettings } from './ggufSettings.ts';

/** Gemma 3 files of the first months do not say these two; every released model has them. */
const gemma3Defaults = { slidingPattern: 6, localRopeBase: 10_000 } as const;
/** The Gemmas that scale queries by hidden/heads instead of the head's width have so many layers (27B). */
const gemmaWideLayers: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 };
/** What SmolLM3 files leave out: every fourth layer does not rotate. */
const smollm3Interval = 4;

/** What all architectures say in the same way. */
interface Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Elements of a head that rotate. */
  readonly rotated: number;
  readonly ffn: number;
  readonly context: number;
  readonly window: number;
  readonly theta: number;
  readonly scaling: Record<string, unknown> | null;
}

type Document = Record<string, unknown>;

/** Which layers have a window: a list, or every n-th has none. */
function layerTypes(settings: GgufSettings, layers: number, everyOther: number): string[] {
  const pattern = settings.raw('attention.sliding_window_pattern');
  if (Array.isArray(pattern)) {
    if (pattern.length !== layers)
      throw settings.fail(
        'attention.sliding_window_pattern',
        `has ${pattern.length} entries for ${layers} layers`,
      );
    return pattern.map((sliding) => (sliding ? 'sliding_attention' : 'full_attention'));
  }
  const every = settings.size('attention.sliding_window_pattern', everyOther);
  return Array.from({ length: layers }, (_, i) =>
    (i + 1) % every === 0 ? 'full_attention' : 'sliding_attention',
  );
}

/** What a family's own `config.json` says beside the usual fields, or calls otherwise. */
function ownFields(architecture: string, gguf: GgufFile, settings: GgufSettings, sizes: Sizes): Document {
  const { layers, heads, headDim, hidden, window, theta, scaling } = sizes;
  const scalar = layers === gemmaWideLayers[architecture] ? hidden / heads : headDim;
  const cap = (key: string, otherwise: number | null) => {
    const value = settings.optional(key) ?? otherwise;
    return value === 0 ? null : value;
  };
  switch (architecture) {
    case 'gemma':
      return { hidden_act: 'gelu_pytorch_tanh', norm_includes_one: true };
    case 'gemma2':
      return {
        hidden_activation: 'gelu_pytorch_tanh',
        sliding_window: settings.size('attention.sliding_window', 4096),
        query_pre_attn_scalar: scalar,
        attn_logit_softcapping: cap('attn_logit_softcapping', 50),
        final_logit_softcapping: cap('final_logit_softcapping', 30),
        norm_includes_one: true,
      };
    case 'gemma3':
      return {
        hidden_activation: 'gelu_pytorch_tanh',
        layer_types: layerTypes(settings, layers, gemma3Defaults.slidingPattern),
        sliding_window: settings.size('attention.sliding_window'),
        rope_local_base_freq: settings.optional('rope.freq_base_swa') ?? gemma3Defaults.localRopeBase,
        query_pre_attn_scalar: scalar,
        attn_logit_softcapping: cap('attn_logit_softcapping', null),
        final_logit_softcapping: cap('final_logit_softcapping', null),
        norm_includes_one: true,
      };
    case 'phi3':
      return {
        hidden_act: 'silu',
        sliding_window: window > 0 ? window : null,
        original_max_position_embeddings:
          settings.optional('rope.scaling.original_context_length') ?? sizes.context,
      };
    case 'granite':
      return {
        hidden_act: 'silu',
        embedding_multiplier: settings.optional('embedding_scale') ?? 1,
        attention_multiplier: settings.optional('attention.scale') ?? 1 / Math.sqrt(headDim),
        residual_multiplier: settings.optional('residual_scale') ?? 1,
        logits_scaling: settings.optional('logit_scale') ?? 1,
      };
    case 'smollm3':
      return { hidden_act: 'silu', no_rope_layer_interval: smollm3Interval, use_sliding_window: false };
    case 'starcoder2':
      return {
        hidden_act: 'gelu_pytorch_tanh',
        use_bias: gguf.tensors.has('blk.0.ffn_up.bias'),
        sliding_window: window > 0 ? window : null,
      };
    case 'olmo2':
      if (window === 0) return { hidden_act: 'silu' };
      return {
        architectures: ['Olmo3ForCausalLM'],
        model_type: 'olmo3',
        hidden_act: 'silu',
        sliding_window: window,
        layer_types: layerTypes(settings, layers, 4),
        rope_parameters: {
          full_attention: { rope_type: 'default', ...scaling, rope_theta: theta },
          sliding_attention: { rope_type: 'default', rope_theta: theta },
        },
      };
    default:
      return { hidden_act: 'silu', sliding_window: window > 0 ? window : null };
  }
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
  if (!Object.hasOwn(GGUF_FAMILIES, architecture)) {
    throw new AlloyError(
      'unsupported',
      `${file}: general.architecture is ${JSON.stringify(architecture)}, which Alloy does not know; it reads ${Object.keys(GGUF_FAMILIES).join(', ')}.`,
    );
  }
  return architecture;
}

/** Heads of queries, and of keys and values, as `ggufConfig` writes them. */
export function headCounts(config: Readonly<Document>): { heads: number; kvHeads: number } {
  const heads = Number(config.num_attention_heads ?? config.n_head);
  return { heads, kvHeads: Number(config.num_key_value_heads ?? heads) };
}

/**
 * The metadata of a GGUF file as the `config.json` of the same model, with the keys of published models (`rope_theta`,
 * `rope_scaling`, `rope_local_base_freq` …). What a `config.json` cannot say: `norm_includes_one` (Gemma's norm weights are
 * stored as 1 + w) and the rope type `factors` (a divisor for each frequency, where they are not Llama 3's).
 * Numbers that the file has as f32 stay those.
 */
export async function ggufConfig(gguf: GgufFile): Promise<Record<string, unknown>> {
  const architecture = ggufArchitecture(gguf);
  const settings = new GgufSettings(gguf, architecture);
  if ((settings.optional('expert_count') ?? 0) > 0)
    throw new AlloyError(
      'unsupported',
      `${gguf.source.name}: ${architecture}.expert_count says that it is a mixture of experts; use a dense model.`,
    );
  const sizes = await readSizes(gguf, settings, architecture);
  const family = GGUF_FAMILIES[architecture] as GgufFamily;
  const mistral = architecture === 'llama' && sizes.window > 0;
  const named = {
    architectures: [mistral ? 'MistralForCausalLM' : family.className],
    model_type: mistral ? 'mistral' : family.modelType,
    tie_word_embeddings: !gguf.tensors.has('output.weight'),
    vocab_size: gguf.tensor('token_embd.weight').shape[0] ?? 0,
    // Without one, transformers would take the family's own, which may lie beyond the vocabulary.
    pad_token_id: null,
    ...tokenIds(gguf),
  };
  const epsilon = settings.number(
    family.layerNorms ? 'attention.layer_norm_epsilon' : 'attention.layer_norm_rms_epsilon',
  );
  if (architecture === 'gpt2') {
    return {
      ...named,
      n_embd: sizes.hidden,
      n_inner: sizes.ffn,
      n_layer: sizes.layers,
      n_head: sizes.heads,
      n_positions: gguf.tensor('position_embd.weight').shape[0] ?? sizes.context,
      layer_norm_epsilon: epsilon,
      activation_function: 'gelu_new',
    };
  }
  const usual = {
    ...named,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.ffn,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    max_position_embeddings: sizes.context,
  };
  const part = rotatedPart(sizes);
  if (architecture === 'gptneox') {
    return {
      ...usual,
      layer_norm_eps: epsilon,
      rotary_emb_base: sizes.theta,
      rotary_pct: part,
      rope_scaling: sizes.scaling,
      use_parallel_residual: settings.raw('use_parallel_residual') !== false,
      attention_bias: gguf.tensors.has('blk.0.attn_qkv.bias'),
      hidden_act: 'gelu',
    };
  }
  if (part !== 1 && architecture !== 'phi3')
    throw settings.fail(
      'rope.dimension_count',
      `is ${sizes.rotated} of heads of ${sizes.headDim}, which such models rotate whole`,
    );
  return {
    ...usual,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headDim,
    [family.layerNorms ? 'norm_epsilon' : 'rms_norm_eps']: epsilon,
    rope_theta: sizes.theta,
    rope_scaling: sizes.scaling,
    ...(part === 1 ? {} : { partial_rotary_factor: part }),
    attention_bias: gguf.tensors.has('blk.0.attn_q.bias'),
    mlp_bias: gguf.tensors.has('blk.0.ffn_gate.bias'),
    ...ownFields(architecture, gguf, settings, sizes),
  };
}

async function readSizes(gguf: GgufFile, settings: GgufSettings, architecture: string): Promise<Sizes> {
  const layers = settings.size('block_count');
  if (layers > gguf.tensors.size)
    throw settings.fail('block_count', `is ${layers}, more than the file has tensors`);
  const hidden = settings.size('embedding_length');
  const heads = settings.size('attention.head_count');
  const headDim = settings.size('attention.key_length', hidden / heads);
  if (settings.size('attention.value_length', headDim) !== headDim)
    throw settings.fail('attention.value_length', `differs from attention.key_length ${headDim}`);
  const theta = settings.optional('rope.freq_base') ?? (architecture === 'gemma3' ? 1e6 : 1e4);
  return {
    layers,
    hidden,
    heads,
    kvHeads: settings.size('attention.head_count_kv', heads),
    headDim,
    rotated: settings.size('rope.dimension_count', headDim),
    ffn: settings.size('feed_forward_length'),
    context: settings.size('context_length'),
    window: settings.optional('attention.sliding_window') ?? 0,
    theta,
    scaling: await ropeScaling(gguf, settings, theta),
  };
}

/** The share of a head that rotates, such that the head's width times it is not below a whole number by rounding. */
function rotatedPart({ rotated, headDim }: Sizes): number {
  const part = rotated / headDim;
  return Math.trunc(headDim * part) === rotated ? part : (rotated + 0.5) / headDim;
}
