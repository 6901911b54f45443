import type { DecoderConfig } from '../config.ts';
import type { FamilyNames, MatrixSpec, VectorSpec } from './family.ts';

/** The names that most families share with Llama. */
export const LLAMA_NAMES: FamilyNames = {
  prefix: 'model.',
  embedding: 'model.embed_tokens.weight',
  layers: 'model.layers',
  finalNorm: 'model.norm',
  head: 'lm_head.weight',
  ignored: /\.rotary_emb\.inv_freq$/,
};

/** Llama's seven matrices. */
export function separateMatrices(config: DecoderConfig): MatrixSpec[] {
  return [...attentionMatrices(config), ...gatedMatrices(config)];
}

export function attentionMatrices(config: DecoderConfig): MatrixSpec[] {
  const { width, heads, kvHeads, headDim, bias } = config;
  const [wide, narrow] = [heads * headDim, kvHeads * headDim];
  return [
    { name: 'q', path: 'self_attn.q_proj', shape: [wide, width], bias: bias.qkv },
    { name: 'k', path: 'self_attn.k_proj', shape: [narrow, width], bias: bias.qkv },
    { name: 'v', path: 'self_attn.v_proj', shape: [narrow, width], bias: bias.qkv },
    { name: 'o', path: 'self_attn.o_proj', shape: [width, wide], bias: bias.output },
  ];
}

export function gatedMatrices({ width, ffn, bias }: DecoderConfig): MatrixSpec[] {
  return [
    { name: 'gate', path: 'mlp.gate_proj', shape: [ffn, width], bias: bias.mlp },
    { name: 'up', path: 'mlp.up_proj', shape: [ffn, width], bias: bias.mlp },
    { name: 'down', path: 'mlp.down_proj', shape: [width, ffn], bias: bias.mlp },
  ];
}

/** A norm without a bias. @param module below the layer */
export function rms(name: string, module: string, size: number): VectorSpec {
  return { name, path: `${module}.weight`, size };
}

/** A norm with a bias. */
export function layerNorm(name: string, module: string, size: number): VectorSpec[] {
  return [
    { name, path: `${module}.weight`, size },
    { name: `${name}.bias`, path: `${module}.bias`, size },
  ];
}
