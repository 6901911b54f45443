import type { Activation } from '../kernels/activation.ts';
import { AlloyError } from '../util/errors.ts';
import type { DecoderConfig, LayerKind, Rope } from './config.ts';
import { listOf, type RawConfig } from './configFields.ts';
import type { Family } from './families/family.ts';
import { readRopes } from './ropeFields.ts';

/** Names of activations in configs. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_accurate: 'gelu_tanh',
  gelu_python_tanh: 'gelu_tanh',
  quick_gelu: 'gelu_quick',
  relu: 'relu',
  relu2: 'relu_squared',
};

/** What every family reads in the same way; `Family.config` changes what it reads differently. */
export function commonConfig(raw: RawConfig, family: Family, file: string): DecoderConfig {
  const heads = raw.num_attention_heads;
  const kvHeads = (family.plainHeads ? null : raw.num_key_value_heads) ?? heads;
  const own = "use the model's own config.json";
  if (heads % kvHeads !== 0) {
    throw new AlloyError(
      'bad-file',
      `${file}: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}; ${own}.`,
    );
  }
  const headDim = (family.plainHeads ? null : raw.head_dim) ?? raw.hidden_size / heads;
  if (!Number.isInteger(headDim)) {
    throw new AlloyError(
      'bad-file',
      `${file}: the head size ${headDim} (hidden_size / num_attention_heads) must be a whole number; set head_dim.`,
    );
  }
  const ffn = raw.intermediate_size ?? (family.innerFactor ?? 0) * raw.hidden_size;
  if (ffn === 0)
    throw new AlloyError('bad-file', `${file}: the field intermediate_size is wrong (missing); ${own}.`);
  return {
    family: family.name,
    vocabSize: raw.vocab_size,
    width: raw.hidden_size,
    ffn,
    heads,
    kvHeads,
    headDim,
    layers: layerKinds(raw, family, headDim, file),
    norm: { kind: 'rms', eps: raw.rms_norm_eps ?? 1e-6, offset: 0 },
    tiedHead: raw.tie_word_embeddings ?? false,
    activation: activationOf(raw, file),
    attentionCap: raw.attn_logit_softcapping ?? 0,
    logitCap: raw.final_logit_softcapping ?? 0,
    embeddingScale: 1,
    residualScale: 1,
    headScale: 1,
    bias: {
      qkv: raw.attention_bias ?? false,
      output: raw.attention_bias ?? false,
      mlp: raw.mlp_bias ?? false,
    },
    parallelResidual: false,
    maxPositions: raw.max_position_embeddings ?? 2048,
    padding: paddingOf(raw),
    bos: listOf(raw.bos_token_id)[0],
    eos: listOf(raw.eos_token_id),
  };
}

/** Counted from the end where negative, as PyTorch has it: the first Llamas say −1. */
function paddingOf({ pad_token_id: id, vocab_size: size }: RawConfig): number | undefined {
  if (id === null || id === undefined) return undefined;
  const padding = id < 0 ? id + size : id;
  return padding >= 0 && padding < size ? padding : undefined;
}

function activationOf(raw: RawConfig, file: string): Activation {
  const name = raw.hidden_activation ?? raw.hidden_act ?? 'silu';
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation) return activation;
  throw new AlloyError(
    'unsupported',
    `${file}: the activation "${name}" (hidden_act) is not supported; ${Object.keys(ACTIVATIONS).join(', ')} are.`,
  );
}

function layerKinds(raw: RawConfig, family: Family, headDim: number, file: string): LayerKind[] {
  const ropes = readRopes(raw, headDim, file, family.reads?.includes('partial_rotary_factor'));
  const names = raw.layer_types;
  if (names && names.length !== raw.num_hidden_layers) {
    throw new AlloyError(
      'bad-file',
      `${file}: layer_types has ${names.length} entries for ${raw.num_hidden_layers} layers; use the model's own config.json.`,
    );
  }
  return Array.from({ length: raw.num_hidden_layers }, (_, layer) => {
    const name = names?.[layer] ?? (family.slides?.(raw, layer) ? 'sliding_attention' : 'full_attention');
    const attentionScale = 1 / Math.sqrt(headDim);
    if (name === 'full_attention') return { window: 0, rope: turning(ropes.full), attentionScale };
    if (name === 'sliding_attention')
      return { window: raw.sliding_window ?? 0, rope: turning(ropes.sliding), attentionScale };
    throw new AlloyError(
      'unsupported',
      `${file}: the layer type "${name}" (layer_types) is not supported; full_attention and sliding_attention are.`,
    );
  });
}

/** No rope at all where it turns no element. */
function turning(rope: Rope): Rope | undefined {
  return rope.rot > 0 ? rope : undefined;
}
