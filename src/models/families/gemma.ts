import type { Tensor } from '../../graph/tensor.ts';
import { gatedInner, type LayerScope, norm, project, selfAttention } from '../blocks.ts';
import type { DecoderConfig } from '../config.ts';
import type { RawConfig } from '../configFields.ts';
import type { Family } from './family.ts';
import { llama } from './llama.ts';
import { LLAMA_NAMES, rms, separateMatrices } from './specs.ts';

/** Norms before and after attention, and before and after the MLP. */
function fourNormLayer(scope: LayerScope, hidden: Tensor): Tensor {
  const attended = project(scope, selfAttention(scope, norm(scope, hidden, 'inputNorm')), 'o');
  const middle = norm(scope, attended, 'attentionOutNorm', hidden);
  const inner = gatedInner(scope, norm(scope, middle, 'mlpNorm'));
  return norm(scope, project(scope, inner, 'down'), 'mlpOutNorm', middle);
}

/** Norms by 1 + w, and an embedding times √D. */
function gemmaConfig(common: DecoderConfig, raw: RawConfig): DecoderConfig {
  return {
    ...common,
    norm: { kind: 'rms', eps: common.norm.eps, offset: raw.norm_includes_one ? 0 : 1 },
    bias: { ...common.bias, mlp: false },
    embeddingScale: Math.fround(Math.sqrt(common.width)),
  };
}

/** Scores by 1/√query_pre_attn_scalar. */
function scaledConfig(common: DecoderConfig, raw: RawConfig): DecoderConfig {
  const attentionScale = 1 / Math.sqrt(raw.query_pre_attn_scalar ?? 256);
  return {
    ...gemmaConfig(common, raw),
    layers: common.layers.map((kind) => ({ ...kind, attentionScale })),
  };
}

const DEFAULTS = {
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  head_dim: 256,
  pad_token_id: 0,
  hidden_act: 'gelu_pytorch_tanh',
} as const;

export const gemma3: Family = {
  name: 'gemma3',
  modelTypes: ['gemma3_text'],
  // Without `attn_logit_softcapping`: transformers reads it of these configs and then leaves the scores as they are.
  reads: ['layer_types', 'final_logit_softcapping'],
  refuses: ['use_bidirectional_attention'],
  names: LLAMA_NAMES,
  defaults: {
    ...DEFAULTS,
    hidden_activation: 'gelu_pytorch_tanh',
    max_position_embeddings: 131_072,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    sliding_window: 4096,
  },
  slides: (raw, layer) =>
    (layer + 1) % (raw.sliding_window_pattern ?? raw._sliding_window_pattern ?? 6) !== 0,
  config: scaledConfig,
  matrices: separateMatrices,
  vectors: ({ width, headDim }) => [
    rms('inputNorm', 'input_layernorm', width),
    rms('attentionOutNorm', 'post_attention_layernorm', width),
    rms('mlpNorm', 'pre_feedforward_layernorm', width),
    rms('mlpOutNorm', 'post_feedforward_layernorm', width),
    rms('qNorm', 'self_attn.q_norm', headDim),
    rms('kNorm', 'self_attn.k_norm', headDim),
  ],
  layer: fourNormLayer,
};

export const gemma2: Family = {
  ...gemma3,
  name: 'gemma2',
  modelTypes: ['gemma2'],
  reads: ['layer_types', 'attn_logit_softcapping', 'final_logit_softcapping'],
  defaults: {
    ...DEFAULTS,
    hidden_activation: 'gelu_pytorch_tanh',
    max_position_embeddings: 8192,
    sliding_window: 4096,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  slides: (_, layer) => layer % 2 === 0,
  vectors: (config) => gemma3.vectors(config).slice(0, 4),
};

export const gemma1: Family = {
  ...llama,
  name: 'gemma',
  modelTypes: ['gemma'],
  defaults: { ...DEFAULTS, max_position_embeddings: 8192 },
  config(common, raw) {
    // The first releases say `gelu` and mean its tanh form; transformers reads them so.
    const activation = common.activation === 'gelu' ? 'gelu_tanh' : common.activation;
    return { ...gemmaConfig(common, raw), activation };
  },
};
