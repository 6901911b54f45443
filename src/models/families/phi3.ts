import type { Family } from './family.ts';
import { llama } from './llama.ts';

/** Llama with q, k and v in one matrix, and gate and up in another. */
export const phi3: Family = {
  ...llama,
  name: 'phi3',
  modelTypes: ['phi3'],
  reads: ['partial_rotary_factor'],
  defaults: {
    rms_norm_eps: 1e-5,
    max_position_embeddings: 4096,
    original_max_position_embeddings: 4096,
    tie_word_embeddings: false,
    pad_token_id: 32_000,
  },
  slides: (raw) => (raw.sliding_window ?? 0) > 0,
  config: (common) => ({ ...common, bias: { qkv: false, output: false, mlp: false } }),
  matrices: ({ width, ffn, heads, kvHeads, headDim }) => [
    {
      name: 'qkv',
      path: 'self_attn.qkv_proj',
      shape: [(heads + 2 * kvHeads) * headDim, width],
      bias: false,
    },
    { name: 'o', path: 'self_attn.o_proj', shape: [width, heads * headDim], bias: false },
    { name: 'gateUp', path: 'mlp.gate_up_proj', shape: [2 * ffn, width], bias: false },
    { name: 'down', path: 'mlp.down_proj', shape: [width, ffn], bias: false },
  ],
};
