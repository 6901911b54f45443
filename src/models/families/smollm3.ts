import type { RawConfig } from '../configFields.ts';
import type { Family } from './family.ts';
import { llama } from './llama.ts';

/** Whether a layer rotates; by default every fourth does not. */
function rotates(raw: RawConfig, layer: number): boolean {
  const listed = raw.no_rope_layers?.[layer];
  return listed === undefined ? (layer + 1) % (raw.no_rope_layer_interval ?? 4) !== 0 : Boolean(listed);
}

/** Llama with layers that do not rotate; those may have a window. */
export const smollm3: Family = {
  ...llama,
  name: 'smollm3',
  modelTypes: ['smollm3'],
  reads: ['layer_types'],
  defaults: {
    ...llama.defaults,
    num_key_value_heads: 4,
    max_position_embeddings: 32_768,
    rope_theta: 2_000_000,
    tie_word_embeddings: true,
    pad_token_id: 128_004,
  },
  slides: (raw, layer) => raw.use_sliding_window === true && !rotates(raw, layer),
  config: (common, raw) => ({
    ...common,
    layers: common.layers.map((kind, layer) => ({
      ...kind,
      window: raw.use_sliding_window === true ? kind.window : 0,
      rope: rotates(raw, layer) ? kind.rope : undefined,
    })),
  }),
};
