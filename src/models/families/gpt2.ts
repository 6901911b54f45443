import type { Tensor } from '../../graph/tensor.ts';
import { type LayerScope, norm, plainInner, project, selfAttention } from '../blocks.ts';
import type { Family } from './family.ts';
import { layerNorm } from './specs.ts';

/** Layer norm, attention, residual; layer norm, plain MLP, residual. Positions are learned and added to the embedding. */
export const gpt2: Family = {
  name: 'gpt2',
  modelTypes: ['gpt2'],
  names: {
    prefix: 'transformer.',
    embedding: 'transformer.wte.weight',
    positions: 'transformer.wpe.weight',
    layers: 'transformer.h',
    finalNorm: 'transformer.ln_f',
    finalNormBias: true,
    head: 'lm_head.weight',
    ignored: /\.attn\.(masked_)?bias$/,
  },
  renamed: {
    n_embd: 'hidden_size',
    n_positions: 'max_position_embeddings',
    n_head: 'num_attention_heads',
    n_layer: 'num_hidden_layers',
    n_inner: 'intermediate_size',
    activation_function: 'hidden_act',
    layer_norm_epsilon: 'layer_norm_eps',
  },
  innerFactor: 4,
  plainHeads: true,
  refuses: ['add_cross_attention'],
  defaults: {
    max_position_embeddings: 1024,
    layer_norm_eps: 1e-5,
    hidden_act: 'gelu_new',
    tie_word_embeddings: true,
  },
  config: (common, raw) => ({
    ...common,
    norm: { kind: 'layer', eps: raw.layer_norm_eps ?? 1e-5 },
    layers: common.layers.map((kind, layer) => ({
      ...kind,
      rope: undefined,
      attentionScale:
        (raw.scale_attn_weights === false ? 1 : kind.attentionScale) /
        (raw.scale_attn_by_inverse_layer_idx ? layer + 1 : 1),
    })),
    bias: { qkv: true, output: true, mlp: true },
    padding: undefined,
  }),
  matrices: ({ width, ffn }) => [
    { name: 'qkv', path: 'attn.c_attn', shape: [3 * width, width], bias: true, conv1d: true },
    { name: 'o', path: 'attn.c_proj', shape: [width, width], bias: true, conv1d: true },
    { name: 'up', path: 'mlp.c_fc', shape: [ffn, width], bias: true, conv1d: true },
    { name: 'down', path: 'mlp.c_proj', shape: [width, ffn], bias: true, conv1d: true },
  ],
  vectors: ({ width }) => [...layerNorm('inputNorm', 'ln_1', width), ...layerNorm('mlpNorm', 'ln_2', width)],
  layer(scope: LayerScope, hidden: Tensor): Tensor {
    const attended = selfAttention(scope, norm(scope, hidden, 'inputNorm'));
    const middle = project(scope, attended, 'o', hidden);
    const inner = plainInner(scope, norm(scope, middle, 'mlpNorm'));
    return project(scope, inner, 'down', middle);
  },
};
