import type { Family } from './family.ts';
import { llama } from './llama.ts';
import { rms } from './specs.ts';

export const qwen2: Family = {
  ...llama,
  name: 'qwen2',
  modelTypes: ['qwen2'],
  reads: ['layer_types'],
  defaults: { ...llama.defaults, max_position_embeddings: 32_768, sliding_window: 4096 },
  slides: (raw, layer) => raw.use_sliding_window === true && layer >= (raw.max_window_layers ?? 28),
  config: (common) => ({ ...common, bias: { qkv: true, output: false, mlp: false } }),
};

export const qwen3: Family = {
  ...qwen2,
  name: 'qwen3',
  modelTypes: ['qwen3'],
  defaults: { ...qwen2.defaults, head_dim: 128 },
  config: (common) => ({ ...common, bias: { ...common.bias, mlp: false } }),
  vectors: (config) => [
    ...llama.vectors(config),
    rms('qNorm', 'self_attn.q_norm', config.headDim),
    rms('kNorm', 'self_attn.k_norm', config.headDim),
  ],
};
