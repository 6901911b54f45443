import { z } from 'zod';

const count = z.int().min(1);
const positive = z.number().positive();
/** Far above any model; each layer costs memory before a tensor is looked at. */
const maxLayers = 4096;
const tokenIds = z.union([z.int(), z.array(z.int())]).nullish();

const rawRopeSchema = z.looseObject({
  rope_theta: positive.nullish(),
  rope_type: z.string().optional(),
  type: z.string().optional(),
  partial_rotary_factor: z.number().min(0).max(1).nullish(),
  factor: positive.nullish(),
  factors: z.array(positive).optional(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: count.nullish(),
  attention_factor: z.number().nullish(),
  beta_fast: z.number().nullish(),
  beta_slow: z.number().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
  short_factor: z.array(positive).optional(),
  long_factor: z.array(positive).optional(),
});

/** The fields of a `config.json` that Alloy reads, under their usual names; a family says which it calls otherwise. */
export const rawConfigSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count.optional(),
  num_hidden_layers: count.max(maxLayers),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  rms_norm_eps: positive.optional(),
  layer_norm_eps: positive.optional(),
  hidden_act: z.string().optional(),
  hidden_activation: z.string().nullish(),
  tie_word_embeddings: z.boolean().optional(),
  attention_bias: z.boolean().optional(),
  mlp_bias: z.boolean().optional(),
  use_bias: z.boolean().optional(),
  max_position_embeddings: count.optional(),
  original_max_position_embeddings: count.optional(),
  sliding_window: z.int().min(0).nullish(),
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.int().optional(),
  sliding_window_pattern: count.optional(),
  _sliding_window_pattern: count.optional(),
  layer_types: z.array(z.string()).nullish(),
  no_rope_layers: z.array(z.union([z.int(), z.boolean()])).nullish(),
  no_rope_layer_interval: count.nullish(),
  rope_theta: positive.optional(),
  rope_local_base_freq: positive.optional(),
  rope_scaling: rawRopeSchema.nullish(),
  rope_parameters: rawRopeSchema
    .extend({ full_attention: rawRopeSchema.nullish(), sliding_attention: rawRopeSchema.nullish() })
    .nullish(),
  partial_rotary_factor: z.number().min(0).max(1).nullish(),
  query_pre_attn_scalar: positive.optional(),
  attn_logit_softcapping: positive.nullish(),
  final_logit_softcapping: positive.nullish(),
  norm_includes_one: z.boolean().optional(),
  scale_attn_weights: z.boolean().optional(),
  scale_attn_by_inverse_layer_idx: z.boolean().optional(),
  add_cross_attention: z.boolean().optional(),
  use_parallel_residual: z.boolean().optional(),
  embedding_multiplier: z.number().optional(),
  attention_multiplier: z.number().optional(),
  residual_multiplier: z.number().optional(),
  logits_scaling: z.number().optional(),
  pad_token_id: z.int().nullish(),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
});

export type RawConfig = z.infer<typeof rawConfigSchema>;
export type RawRope = z.infer<typeof rawRopeSchema>;

export function listOf(ids: RawConfig['eos_token_id']): readonly number[] {
  if (ids === null || ids === undefined) return [];
  return Array.isArray(ids) ? ids : [ids];
}
