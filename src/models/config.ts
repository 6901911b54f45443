/**
 * Decoder configurations. Both spellings of `config.json` are read: that of transformers 5 (`rope_parameters`,
 * `layer_types`) and the older one that most published models have (`rope_theta`, `rope_scaling`,
 * `sliding_window_pattern`).
 */
import { z } from 'zod';
import type { RopeScaling } from '../kernels/rope.ts';
import { AlloyError, required } from '../util/errors.ts';
import { fieldProblems } from '../util/schemaIssue.ts';

export type Family = 'llama' | 'mistral' | 'qwen2' | 'qwen3' | 'gemma3';

export interface Rope {
  readonly theta: number;
  readonly scaling: RopeScaling | undefined;
}

export interface LayerKind {
  /** Keys a query sees, itself included; 0 = all before it. */
  readonly window: number;
  readonly rope: Rope;
}

export interface DecoderConfig {
  readonly family: Family;
  readonly vocabSize: number;
  readonly width: number;
  readonly ffn: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: readonly LayerKind[];
  readonly normEps: number;
  /** Norms multiply by `normOffset + w`: 1 for Gemma's own files, 0 for GGUF files, which store 1 + w. */
  readonly normOffset: 0 | 1;
  readonly tiedHead: boolean;
  readonly activation: 'silu' | 'gelu_tanh';
  readonly attentionScale: number;
  readonly attentionCap: number;
  readonly logitCap: number;
  readonly embeddingScale: number;
  readonly bias: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean };
  /** A norm on every head of q and k before rotation (Qwen 3, Gemma 3). */
  readonly headNorms: boolean;
  /** Four norms a layer: also after attention and after the MLP, before the residual is added (Gemma 3). */
  readonly postNorms: boolean;
  readonly maxPositions: number;
  readonly bos: number | undefined;
  readonly eos: readonly number[];
}

const ropeSchema = z
  .looseObject({
    rope_theta: z.number().positive().optional(),
    rope_type: z.string().optional(),
    type: z.string().optional(),
    factor: z.number().positive().optional(),
    low_freq_factor: z.number().optional(),
    high_freq_factor: z.number().optional(),
    original_max_position_embeddings: z.number().optional(),
  })
  .nullish();

const count = z.int().min(1);
/** Far above any model; each layer costs memory before a tensor is looked at. */
const maxLayers = 4096;
const tokenIds = z.union([z.int(), z.array(z.int())]).nullish();

const schema = z.looseObject({
  model_type: z.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(maxLayers),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  rms_norm_eps: z.number().positive().optional(),
  hidden_act: z.string().optional(),
  hidden_activation: z.string().nullish(),
  tie_word_embeddings: z.boolean().optional(),
  attention_bias: z.boolean().optional(),
  mlp_bias: z.boolean().optional(),
  max_position_embeddings: count.optional(),
  sliding_window: z.int().min(1).nullish(),
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.int().optional(),
  sliding_window_pattern: count.optional(),
  _sliding_window_pattern: count.optional(),
  layer_types: z.array(z.string()).nullish(),
  rope_theta: z.number().positive().optional(),
  rope_local_base_freq: z.number().positive().optional(),
  rope_scaling: ropeSchema,
  rope_parameters: z.looseObject({ full_attention: ropeSchema, sliding_attention: ropeSchema }).nullish(),
  query_pre_attn_scalar: z.number().positive().optional(),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  norm_includes_one: z.boolean().optional(),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
});

type Raw = z.infer<typeof schema>;
type RawRope = z.infer<typeof ropeSchema>;

interface FamilyTraits {
  readonly family: Family;
  readonly tied: boolean;
  readonly theta: number;
  readonly eps: number;
  readonly maxPositions: number;
}

const FAMILIES: Readonly<Record<string, FamilyTraits>> = {
  llama: { family: 'llama', tied: false, theta: 10_000, eps: 1e-6, maxPositions: 2048 },
  mistral: { family: 'mistral', tied: false, theta: 10_000, eps: 1e-6, maxPositions: 131_072 },
  qwen2: { family: 'qwen2', tied: false, theta: 10_000, eps: 1e-6, maxPositions: 32_768 },
  qwen3: { family: 'qwen3', tied: false, theta: 10_000, eps: 1e-6, maxPositions: 32_768 },
  gemma3_text: { family: 'gemma3', tied: true, theta: 1_000_000, eps: 1e-6, maxPositions: 131_072 },
};

/**
 * Reads a `config.json` (or the like made from a GGUF file's metadata).
 * @throws AlloyError `unsupported` for another architecture or rope scaling, `bad-file` for a field that is missing
 * or of a wrong type; the sentence names the file and the field.
 */
export function parseConfig(json: unknown, file: string): DecoderConfig {
  const document = json as { model_type?: unknown; text_config?: object } | null;
  const inner =
    document?.model_type === 'gemma3' && document.text_config
      ? { ...document.text_config, model_type: 'gemma3_text' }
      : json;
  const kind = (inner as { model_type?: unknown } | null)?.model_type;
  if (typeof kind === 'string' && !Object.hasOwn(FAMILIES, kind)) {
    throw new AlloyError(
      'unsupported',
      `${file}: the architecture "${kind}" (model_type) is not supported; Alloy runs ${Object.keys(FAMILIES).join(', ')}.`,
    );
  }
  const parsed = schema.safeParse(inner);
  if (!parsed.success) {
    const [problem] = fieldProblems(parsed.error.issues, inner);
    throw new AlloyError(
      'bad-file',
      `${file}: the field ${problem?.field} is wrong (${problem?.what}); use the model's own config.json.`,
    );
  }
  const raw = parsed.data;
  return build(raw, required(FAMILIES[raw.model_type], raw.model_type), file);
}

function build(raw: Raw, traits: FamilyTraits, file: string): DecoderConfig {
  const { family } = traits;
  const heads = raw.num_attention_heads;
  const kvHeads = raw.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0) {
    throw new AlloyError(
      'bad-file',
      `${file}: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}; use the model's own config.json.`,
    );
  }
  const headDim = raw.head_dim ?? (family === 'gemma3' ? 256 : raw.hidden_size / heads);
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw new AlloyError(
      'bad-file',
      `${file}: the head size ${headDim} (hidden_size / num_attention_heads) must be an even whole number; set head_dim.`,
    );
  }
  const gemma = family === 'gemma3';
  const attentionBias = raw.attention_bias ?? false;
  return {
    family,
    vocabSize: raw.vocab_size,
    width: raw.hidden_size,
    ffn: raw.intermediate_size,
    heads,
    kvHeads,
    headDim,
    layers: layerKinds(raw, traits, file),
    normEps: raw.rms_norm_eps ?? traits.eps,
    normOffset: gemma && !raw.norm_includes_one ? 1 : 0,
    tiedHead: raw.tie_word_embeddings ?? traits.tied,
    activation: activationOf(raw, gemma, file),
    attentionScale: 1 / Math.sqrt(gemma ? (raw.query_pre_attn_scalar ?? 256) : headDim),
    attentionCap: raw.attn_logit_softcapping ?? 0,
    logitCap: raw.final_logit_softcapping ?? 0,
    embeddingScale: gemma ? Math.fround(Math.sqrt(raw.hidden_size)) : 1,
    bias: {
      qkv: family === 'qwen2' || attentionBias,
      output: family !== 'qwen2' && attentionBias,
      mlp: family === 'llama' && (raw.mlp_bias ?? false),
    },
    headNorms: gemma || family === 'qwen3',
    postNorms: gemma,
    maxPositions: raw.max_position_embeddings ?? traits.maxPositions,
    bos: listOf(raw.bos_token_id)[0],
    eos: listOf(raw.eos_token_id),
  };
}

function listOf(ids: z.infer<typeof tokenIds>): readonly number[] {
  if (ids === null || ids === undefined) return [];
  return Array.isArray(ids) ? ids : [ids];
}

function activationOf(raw: Raw, gemma: boolean, file: string): 'silu' | 'gelu_tanh' {
  const name =
    (gemma ? raw.hidden_activation : undefined) ?? raw.hidden_act ?? (gemma ? 'gelu_pytorch_tanh' : 'silu');
  if (name === 'silu' || name === 'swish') return 'silu';
  if (name === 'gelu_pytorch_tanh' || name === 'gelu_new') return 'gelu_tanh';
  throw new AlloyError(
    'unsupported',
    `${file}: the activation "${name}" (hidden_act) is not supported; silu and gelu_pytorch_tanh are.`,
  );
}

function layerKinds(raw: Raw, traits: FamilyTraits, file: string): LayerKind[] {
  const { full, sliding } = ropes(raw, traits, file);
  const names = layerNames(raw, traits.family);
  if (names.length !== raw.num_hidden_layers) {
    throw new AlloyError(
      'bad-file',
      `${file}: layer_types has ${names.length} entries for ${raw.num_hidden_layers} layers; use the model's own config.json.`,
    );
  }
  const window = raw.sliding_window ?? (traits.family === 'gemma3' ? 4096 : 0);
  return names.map((name) => {
    if (name === 'full_attention') return { window: 0, rope: full };
    if (name === 'sliding_attention') return { window, rope: sliding };
    throw new AlloyError(
      'unsupported',
      `${file}: the layer type "${name}" (layer_types) is not supported; full_attention and sliding_attention are.`,
    );
  });
}

function layerNames(raw: Raw, family: Family): readonly string[] {
  if (raw.layer_types) return raw.layer_types;
  const pattern = raw.sliding_window_pattern ?? raw._sliding_window_pattern ?? 6;
  return Array.from({ length: raw.num_hidden_layers }, (_, layer) => {
    if (family === 'gemma3') return (layer + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention';
    if (family === 'mistral') return raw.sliding_window ? 'sliding_attention' : 'full_attention';
    const windowed = family !== 'llama' && raw.use_sliding_window && raw.sliding_window;
    return windowed && layer >= (raw.max_window_layers ?? 28) ? 'sliding_attention' : 'full_attention';
  });
}

function ropes(raw: Raw, traits: FamilyTraits, file: string): { full: Rope; sliding: Rope } {
  const given = raw.rope_parameters;
  if (traits.family !== 'gemma3') {
    const flat = (given ?? raw.rope_scaling) as RawRope;
    const theta = flat?.rope_theta ?? raw.rope_theta ?? traits.theta;
    const rope = { theta, scaling: scalingOf(flat, raw, file) };
    return { full: rope, sliding: rope };
  }
  const full = given?.full_attention ?? raw.rope_scaling;
  const sliding = given?.sliding_attention;
  return {
    full: { theta: full?.rope_theta ?? raw.rope_theta ?? traits.theta, scaling: scalingOf(full, raw, file) },
    sliding: {
      theta: sliding?.rope_theta ?? raw.rope_local_base_freq ?? 10_000,
      scaling: scalingOf(sliding, raw, file),
    },
  };
}

function scalingOf(rope: RawRope, raw: Raw, file: string): RopeScaling | undefined {
  const kind = rope?.rope_type ?? rope?.type ?? 'default';
  if (!rope || kind === 'default') return undefined;
  const need = (field: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = rope[field];
    if (value === undefined)
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
