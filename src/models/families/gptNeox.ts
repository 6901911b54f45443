import type { Tensor } from '../../graph/tensor.ts';
import { type LayerScope, norm, plainInner, project, selfAttention } from '../blocks.ts';
import type { Family } from './family.ts';
import { layerNorm } from './specs.ts';

/** GPT-NeoX and Pythia: rotation of a part of each head; attention and MLP side by side on the same rows, or one after the other. */
export const gptNeox: Family = {
  name: 'gpt_neox',
  modelTypes: ['gpt_neox'],
  names: {
    prefix: 'gpt_neox.',
    embedding: 'gpt_neox.embed_in.weight',
    layers: 'gpt_neox.layers',
    finalNorm: 'gpt_neox.final_layer_norm',
    finalNormBias: true,
    head: 'embed_out.weight',
    aliases: { 'embed_out.weight': 'lm_head.weight' },
    ignored: /\.attention\.(masked_)?bias$/,
  },
  renamed: { rotary_emb_base: 'rope_theta', rotary_pct: 'partial_rotary_factor' },
  reads: ['partial_rotary_factor'],
  plainHeads: true,
  defaults: {
    layer_norm_eps: 1e-5,
    hidden_act: 'gelu',
    max_position_embeddings: 2048,
    attention_bias: true,
    partial_rotary_factor: 0.25,
    tie_word_embeddings: false,
  },
  config: (common, raw) => ({
    ...common,
    norm: { kind: 'layer', eps: raw.layer_norm_eps ?? 1e-5 },
    bias: { ...common.bias, mlp: true },
    padding: undefined,
    parallelResidual: raw.use_parallel_residual ?? true,
  }),
  matrices: ({ width, ffn, bias }) => [
    { name: 'qkv', path: 'attention.query_key_value', shape: [3 * width, width], bias: bias.qkv },
    { name: 'o', path: 'attention.dense', shape: [width, width], bias: bias.output },
    { name: 'up', path: 'mlp.dense_h_to_4h', shape: [ffn, width], bias: true },
    { name: 'down', path: 'mlp.dense_4h_to_h', shape: [width, ffn], bias: true },
  ],
  vectors: ({ width }) => [
    ...layerNorm('inputNorm', 'input_layernorm', width),
    ...layerNorm('mlpNorm', 'post_attention_layernorm', width),
  ],
  layer(scope: LayerScope, hidden: Tensor): Tensor {
    const attended = selfAttention(scope, norm(scope, hidden, 'inputNorm'), 'heads');
    const middle = project(scope, attended, 'o', hidden);
    const read = scope.config.parallelResidual ? hidden : middle;
    const inner = plainInner(scope, norm(scope, read, 'mlpNorm'));
    return project(scope, inner, 'down', middle);
  },
};
