import type { Tensor } from '../../graph/tensor.ts';
import { gatedInner, type LayerScope, norm, project, selfAttention } from '../blocks.ts';
import type { Family } from './family.ts';
import { llama } from './llama.ts';
import { rms } from './specs.ts';

/** Norms after attention and after the MLP only, and over the whole width of q and k. */
export const olmo2: Family = {
  ...llama,
  name: 'olmo2',
  modelTypes: ['olmo2'],
  defaults: { ...llama.defaults, rms_norm_eps: 1e-5, pad_token_id: 1 },
  config: (common) => ({ ...common, bias: { ...common.bias, mlp: false } }),
  vectors: ({ width, heads, kvHeads, headDim }) => [
    rms('attentionOutNorm', 'post_attention_layernorm', width),
    rms('mlpOutNorm', 'post_feedforward_layernorm', width),
    rms('qNorm', 'self_attn.q_norm', heads * headDim),
    rms('kNorm', 'self_attn.k_norm', kvHeads * headDim),
  ],
  layer(scope: LayerScope, hidden: Tensor): Tensor {
    const attended = project(scope, selfAttention(scope, hidden), 'o');
    const middle = norm(scope, attended, 'attentionOutNorm', hidden);
    const inner = gatedInner(scope, middle);
    return norm(scope, project(scope, inner, 'down'), 'mlpOutNorm', middle);
  },
};

/** OLMo 2 with a window in three of four layers. */
export const olmo3: Family = {
  ...olmo2,
  name: 'olmo3',
  modelTypes: ['olmo3'],
  reads: ['layer_types'],
  defaults: { ...olmo2.defaults, sliding_window: 4096, rope_theta: 500_000 },
  slides: (_, layer) => (layer + 1) % 4 !== 0,
  config(common, raw) {
    const rope = common.layers.find(({ window }) => window > 0)?.rope;
    if (!rope || raw.rope_parameters?.full_attention) return olmo2.config(common, raw);
    // One scaling for all, as older configs have it, is meant for the layers that see everything.
    const plain = { ...rope, scaling: undefined };
    const layers = common.layers.map((kind) => (kind.window > 0 ? { ...kind, rope: plain } : kind));
    return { ...olmo2.config(common, raw), layers };
  },
};
