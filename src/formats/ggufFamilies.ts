/** What GGUF architectures call their tensors, and how their rows lie, against Hugging Face's files. */

export interface GgufFamily {
  /** Hugging Face's `model_type`, and the class for `architectures`. */
  readonly modelType: string;
  readonly className: string;
  /** Tensors outside the layers: GGUF's name → Hugging Face's, both without `.weight` or `.bias`. */
  readonly top: Readonly<Record<string, string>>;
  /** Hugging Face's prefix of a layer's number. */
  readonly layers: string;
  /** Modules of a layer: GGUF's name → Hugging Face's. */
  readonly parts: Readonly<Record<string, string>>;
  /** The file keeps the partners of a rotation in neighbouring rows of q and k, not half a head apart. */
  readonly paired?: boolean;
  /** The module whose rows are all of q, then k, then v in the file, and head by head at Hugging Face. */
  readonly regrouped?: string;
  /** Layer norms, with their own key for ε. */
  readonly layerNorms?: boolean;
  /** Norm weights are stored as 1 + w. */
  readonly normsIncludeOne?: boolean;
}

const llamaTop = { token_embd: 'model.embed_tokens', output_norm: 'model.norm', output: 'lm_head' };
const llamaParts = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
} as const;
const llama = { top: llamaTop, layers: 'model.layers', parts: llamaParts } as const;

/** Gemma norms both sides of attention and of the MLP; its `ffn_norm` is the one before the MLP. */
const fourNorms = {
  ...llamaParts,
  ffn_norm: 'pre_feedforward_layernorm',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
} as const;

/** By `general.architecture`. */
export const GGUF_FAMILIES: Readonly<Record<string, GgufFamily>> = {
  llama: { ...llama, modelType: 'llama', className: 'LlamaForCausalLM', paired: true },
  qwen2: { ...llama, modelType: 'qwen2', className: 'Qwen2ForCausalLM' },
  qwen3: { ...llama, modelType: 'qwen3', className: 'Qwen3ForCausalLM' },
  gemma: { ...llama, modelType: 'gemma', className: 'GemmaForCausalLM', normsIncludeOne: true },
  gemma2: {
    ...llama,
    parts: fourNorms,
    modelType: 'gemma2',
    className: 'Gemma2ForCausalLM',
    normsIncludeOne: true,
  },
  gemma3: {
    ...llama,
    parts: fourNorms,
    modelType: 'gemma3_text',
    className: 'Gemma3ForCausalLM',
    normsIncludeOne: true,
  },
  gpt2: {
    modelType: 'gpt2',
    className: 'GPT2LMHeadModel',
    top: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
    },
    layers: 'transformer.h',
    parts: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    layerNorms: true,
  },
  gptneox: {
    modelType: 'gpt_neox',
    className: 'GPTNeoXForCausalLM',
    top: {
      token_embd: 'gpt_neox.embed_in',
      output_norm: 'gpt_neox.final_layer_norm',
      output: 'embed_out',
    },
    layers: 'gpt_neox.layers',
    parts: {
      attn_norm: 'input_layernorm',
      attn_qkv: 'attention.query_key_value',
      attn_output: 'attention.dense',
      ffn_norm: 'post_attention_layernorm',
      ffn_up: 'mlp.dense_h_to_4h',
      ffn_down: 'mlp.dense_4h_to_h',
    },
    regrouped: 'attn_qkv',
    layerNorms: true,
  },
  phi3: {
    ...llama,
    modelType: 'phi3',
    className: 'Phi3ForCausalLM',
    parts: {
      attn_norm: 'input_layernorm',
      attn_qkv: 'self_attn.qkv_proj',
      attn_output: 'self_attn.o_proj',
      ffn_norm: 'post_attention_layernorm',
      ffn_up: 'mlp.gate_up_proj',
      ffn_down: 'mlp.down_proj',
    },
  },
  olmo2: {
    ...llama,
    modelType: 'olmo2',
    className: 'Olmo2ForCausalLM',
    parts: {
      ...llamaParts,
      post_attention_norm: 'post_attention_layernorm',
      post_ffw_norm: 'post_feedforward_layernorm',
    },
  },
  granite: { ...llama, modelType: 'granite', className: 'GraniteForCausalLM', paired: true },
  smollm3: { ...llama, modelType: 'smollm3', className: 'SmolLM3ForCausalLM', paired: true },
  starcoder2: {
    ...llama,
    modelType: 'starcoder2',
    className: 'Starcoder2ForCausalLM',
    parts: { ...llamaParts, ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' },
    layerNorms: true,
  },
};

/** Hugging Face's name of a GGUF tensor, or null where the architecture has no such tensor. */
export function huggingFaceName(architecture: string, name: string): string | null {
  const family = Object.hasOwn(GGUF_FAMILIES, architecture) ? GGUF_FAMILIES[architecture] : undefined;
  const [, layer, part = '', kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  if (!family || kind === undefined) return null;
  const names = layer === undefined ? family.top : family.parts;
  if (!Object.hasOwn(names, part)) return null;
  return layer === undefined ? `${names[part]}.${kind}` : `${family.layers}.${layer}.${names[part]}.${kind}`;
}

/** Where a tensor's rows come from in the file, where that is another order. */
export type RowOrder =
  | { readonly kind: 'file' }
  /** Rows of q or k in pairs. */
  | { readonly kind: 'paired'; readonly heads: number }
  /** All of q, k and v one after the other, which Hugging Face has head by head. */
  | { readonly kind: 'regrouped'; readonly heads: number };

export function rowOrder(
  architecture: string,
  name: string,
  { heads, kvHeads }: { readonly heads: number; readonly kvHeads: number },
): RowOrder {
  const family = GGUF_FAMILIES[architecture];
  const part = /^blk\.\d+\.(\w+)\./.exec(name)?.[1];
  if (family?.paired && part === 'attn_q') return { kind: 'paired', heads };
  if (family?.paired && part === 'attn_k') return { kind: 'paired', heads: kvHeads };
  if (part !== undefined && part === family?.regrouped) return { kind: 'regrouped', heads };
  return { kind: 'file' };
}

/** Rows `[q | k | v]` of all heads as rows `[q, k, v]` of one head after the other; whole rows of any type. */
export function regroupRows(
  raw: Uint8Array,
  rowBytes: number,
  heads: number,
  headDim: number,
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(raw.length);
  const run = headDim * rowBytes;
  for (let head = 0; head < heads; head++) {
    for (let part = 0; part < 3; part++) {
      const from = (part * heads + head) * run;
      result.set(raw.subarray(from, from + run), (3 * head + part) * run);
    }
  }
  return result;
}
