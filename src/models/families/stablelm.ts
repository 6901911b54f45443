import type { Tensor } from '../../graph/tensor.ts';
import { gatedInner, type LayerScope, norm, project, selfAttention } from '../blocks.ts';
import type { Family } from './family.ts';
import { llamaLayer } from './llama.ts';
import { LLAMA_NAMES, layerNorm, separateMatrices } from './specs.ts';

/** Llama with layer norms and a part of each head that rotates; or attention and MLP side by side, on one norm. */
export const stablelm: Family = {
  name: 'stablelm',
  modelTypes: ['stablelm'],
  names: { ...LLAMA_NAMES, finalNormBias: true },
  renamed: { use_qkv_bias: 'attention_bias' },
  reads: ['partial_rotary_factor'],
  refuses: ['qk_layernorm'],
  defaults: {
    layer_norm_eps: 1e-5,
    max_position_embeddings: 4096,
    partial_rotary_factor: 0.25,
    tie_word_embeddings: false,
  },
  config: (common, raw) => ({
    ...common,
    norm: { kind: 'layer', eps: raw.layer_norm_eps ?? 1e-5 },
    bias: { qkv: common.bias.qkv, output: false, mlp: false },
    parallelResidual: raw.use_parallel_residual ?? false,
  }),
  matrices: separateMatrices,
  vectors: ({ width, parallelResidual }) => [
    ...layerNorm('inputNorm', 'input_layernorm', width),
    ...(parallelResidual ? [] : layerNorm('mlpNorm', 'post_attention_layernorm', width)),
  ],
  layer(scope: LayerScope, hidden: Tensor): Tensor {
    if (!scope.config.parallelResidual) return llamaLayer(scope, hidden);
    const read = norm(scope, hidden, 'inputNorm');
    const middle = project(scope, selfAttention(scope, read), 'o', hidden);
    return project(scope, gatedInner(scope, read), 'down', middle);
  },
};
