import type { Tensor } from '../../graph/tensor.ts';
import { gatedInner, type LayerScope, norm, project, selfAttention } from '../blocks.ts';
import type { Family } from './family.ts';
import { LLAMA_NAMES, rms, separateMatrices } from './specs.ts';

/** Norm, attention, residual; norm, gated MLP, residual. */
export function llamaLayer(scope: LayerScope, hidden: Tensor): Tensor {
  const attended = selfAttention(scope, norm(scope, hidden, 'inputNorm'));
  const middle = project(scope, attended, 'o', hidden);
  const inner = gatedInner(scope, norm(scope, middle, 'mlpNorm'));
  return project(scope, inner, 'down', middle);
}

export const llama: Family = {
  name: 'llama',
  modelTypes: ['llama'],
  names: LLAMA_NAMES,
  defaults: { rms_norm_eps: 1e-6, max_position_embeddings: 2048, tie_word_embeddings: false },
  config: (common) => common,
  matrices: separateMatrices,
  vectors: ({ width }) => [
    rms('inputNorm', 'input_layernorm', width),
    rms('mlpNorm', 'post_attention_layernorm', width),
  ],
  layer: llamaLayer,
};

export const mistral: Family = {
  ...llama,
  name: 'mistral',
  modelTypes: ['mistral'],
  defaults: { ...llama.defaults, max_position_embeddings: 131_072, sliding_window: 4096 },
  slides: (raw) => (raw.sliding_window ?? 0) > 0,
  config: (common) => ({ ...common, bias: { qkv: false, output: false, mlp: false } }),
};
