import type { Tensor } from '../../graph/tensor.ts';
import type { LayerScope } from '../blocks.ts';
import type { DecoderConfig } from '../config.ts';
import type { RawConfig } from '../configFields.ts';

/** Fields that some families read and that others' configs may have without effect. */
export const RARE_FIELDS = [
  'layer_types',
  'partial_rotary_factor',
  'attn_logit_softcapping',
  'final_logit_softcapping',
] as const;

export type RareField = (typeof RARE_FIELDS)[number];

/** A matrix of a layer: what can be adapted, merged and quantized. */
export interface MatrixSpec {
  /** What recipes and grids call it: `q`, `k`, `v`, `o`, `gate`, `up`, `down`, or `qkv` and `gateUp` where a file fuses them. */
  readonly name: string;
  /** Its module below the layer, e.g. `self_attn.q_proj`. */
  readonly path: string;
  /** `[out, in]`, whatever way round the family's own files keep it. */
  readonly shape: readonly [number, number];
  readonly bias: boolean;
  /** The family's own files keep it `[in, out]` (the Conv1D of GPT-2); it is turned when read and when exported. */
  readonly conv1d?: boolean;
}

/** A vector of a layer: a weight or a bias of a norm. */
export interface VectorSpec {
  /** The key in `LayerWeights.vectors`. A norm called `x` has its bias, if any, under `x.bias`. */
  readonly name: string;
  /** Its tensor below the layer, e.g. `input_layernorm.weight`. */
  readonly path: string;
  readonly size: number;
}

/** The tensors outside the layers, and where the layers are. */
export interface FamilyNames {
  /** What transformers prefixes to the names of the bare model; files of bare models lack it. */
  readonly prefix: string;
  readonly embedding: string;
  /** Learned positions `[positions, D]`. */
  readonly positions?: string;
  /** Layer 3 is `<layers>.3`. */
  readonly layers: string;
  /** The module of the norm before the head, and whether it has a bias. */
  readonly finalNorm: string;
  readonly finalNormBias?: boolean;
  readonly head: string;
  /** Other names that files give to tensors: the usual one → the other. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Tensors of files that are no parameters: masks, frequencies. */
  readonly ignored?: RegExp;
}

/**
 * One architecture, or close kin. To add one, write a file like `llama.ts` and name it in `families.ts`: which configs it
 * reads, what its tensors are called, and how a layer is computed from the blocks of `blocks.ts`. Nothing else in Alloy
 * knows an architecture by name, except the tables that translate GGUF files.
 */
export interface Family {
  readonly name: string;
  /** Values of `model_type` in a `config.json`. */
  readonly modelTypes: readonly string[];
  readonly names: FamilyNames;
  /** Fields that the family's own configs call differently: their name → the usual one. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** `intermediate_size` over `hidden_size`, where a config may leave the former out. */
  readonly innerFactor?: number;
  /** Which of `RARE_FIELDS` mean something; like transformers, a family passes over the others. */
  readonly reads?: readonly RareField[];
  /** Fields that, where they are true, make another model of it, one that Alloy does not compute. */
  readonly refuses?: readonly string[];
  /** Every head of q has its own of k and v, as wide as width / heads, whatever else a config says. */
  readonly plainHeads?: boolean;
  /** What transformers takes for fields that a config leaves out. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Whether a layer has a window, where the config lists no `layer_types`. */
  readonly slides?: (raw: RawConfig, layer: number) => boolean;
  /** Changes what is read of every config (`commonConfig`) where the family differs. */
  config(common: DecoderConfig, raw: RawConfig): DecoderConfig;
  matrices(config: DecoderConfig): readonly MatrixSpec[];
  vectors(config: DecoderConfig): readonly VectorSpec[];
  /** Lays one layer down: from the hidden rows before it to those after it. */
  layer(scope: LayerScope, hidden: Tensor): Tensor;
}
