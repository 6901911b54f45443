import type { Family } from './family.ts';
import { gpt2 } from './gpt2.ts';
import { attentionMatrices, LLAMA_NAMES, layerNorm } from './specs.ts';

/** GPT-2's layer with rotation, grouped heads, and a window. */
export const starcoder2: Family = {
  ...gpt2,
  plainHeads: false,
  name: 'starcoder2',
  modelTypes: ['starcoder2'],
  names: { ...LLAMA_NAMES, finalNormBias: true },
  renamed: { norm_epsilon: 'layer_norm_eps' },
  defaults: {
    num_key_value_heads: 2,
    layer_norm_eps: 1e-5,
    hidden_act: 'gelu_pytorch_tanh',
    max_position_embeddings: 4096,
    use_bias: true,
    tie_word_embeddings: true,
  },
  slides: (raw) => (raw.sliding_window ?? 0) > 0,
  config: (common, raw) => {
    const bias = raw.use_bias ?? true;
    return {
      ...common,
      norm: { kind: 'layer', eps: raw.layer_norm_eps ?? 1e-5 },
      bias: { qkv: bias, output: bias, mlp: bias },
    };
  },
  matrices: (config) => [
    ...attentionMatrices(config),
    { name: 'up', path: 'mlp.c_fc', shape: [config.ffn, config.width], bias: config.bias.mlp },
    { name: 'down', path: 'mlp.c_proj', shape: [config.width, config.ffn], bias: config.bias.mlp },
  ],
  vectors: ({ width }) => [
    ...layerNorm('inputNorm', 'input_layernorm', width),
    ...layerNorm('mlpNorm', 'post_attention_layernorm', width),
  ],
};
