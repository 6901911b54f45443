import type { Family } from './family.ts';
import { llama } from './llama.ts';

/** Llama with factors on the embedding, the scores, the residual stream and the logits. */
export const granite: Family = {
  ...llama,
  name: 'granite',
  modelTypes: ['granite'],
  config: (common, raw) => ({
    ...common,
    embeddingScale: raw.embedding_multiplier ?? 1,
    residualScale: raw.residual_multiplier ?? 1,
    headScale: 1 / (raw.logits_scaling ?? 1),
    layers: common.layers.map((kind) => ({ ...kind, attentionScale: raw.attention_multiplier ?? 1 })),
  }),
};
