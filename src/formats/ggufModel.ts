import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import { byteRange, type RowRange } from '../util/rowRange.ts';
import { GgufFile, type GgufTensor, type OpenBeside } from './gguf.ts';
import { ggufArchitecture, ggufConfig } from './ggufConfig.ts';
import { dequantize, isPlainType } from './ggufDequantize.ts';
import { type PackedMatrix, repack, unpairRows } from './repack.ts';

const topNames: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

const layerNames: Readonly<Record<string, string>> = {
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
};

/** Gemma norms both sides of attention and of the MLP; its `ffn_norm` is the one before the MLP. */
const gemmaLayerNames: Readonly<Record<string, string>> = {
  ...layerNames,
  ffn_norm: 'pre_feedforward_layernorm',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};

/** Tensors that are no parameters: their content is in the config. */
const ignored = new Set(['rope_freqs.weight']);

/** Hugging Face's name of a GGUF tensor, or null where the architecture has no such tensor. */
export function huggingFaceName(architecture: string, name: string): string | null {
  if (Object.hasOwn(topNames, name)) return topNames[name] ?? null;
  const [, layer, part = '', kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const names = architecture === 'gemma3' ? gemmaLayerNames : layerNames;
  return Object.hasOwn(names, part) ? `model.layers.${layer}.${names[part]}.${kind}` : null;
}

/** A tensor of a GGUF model under its Hugging Face name. */
export interface GgufModelTensor {
  readonly tensor: GgufTensor;
  /** Heads of a q or k matrix whose rows the file keeps in pairs; 0 for all others. */
  readonly pairedHeads: number;
}

/**
 * A GGUF file seen as the Hugging Face model it was made from: config and tensors under Hugging Face's names, with the rows
 * of q and k in Hugging Face's order. Values stay the file's (Gemma's norm weights keep their 1; see `norm_includes_one`).
 */
export class GgufModel {
  readonly gguf: GgufFile;
  /** As `config.json`; see {@link ggufConfig}. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, GgufModelTensor>;

  private constructor(
    gguf: GgufFile,
    config: Record<string, unknown>,
    tensors: Map<string, GgufModelTensor>,
  ) {
    this.gguf = gguf;
    this.config = config;
    this.tensors = tensors;
  }

  /**
   * @param openBeside finds the other parts of a split model
   * @throws AlloyError `bad-file`; `unsupported` for an architecture or a tensor that Alloy does not know
   */
  static async open(source: FileSource, openBeside?: OpenBeside): Promise<GgufModel> {
    const gguf = await GgufFile.open(source, openBeside);
    const architecture = ggufArchitecture(gguf);
    const config = await ggufConfig(gguf);
    const tensors = new Map<string, GgufModelTensor>();
    for (const tensor of gguf.tensors.values()) {
      if (ignored.has(tensor.name)) continue;
      const name = huggingFaceName(architecture, tensor.name);
      if (name === null) {
        throw new AlloyError(
          'unsupported',
          `${source.name}: the tensor ${JSON.stringify(tensor.name)} has no place in a ${architecture} model as Alloy knows it; use another file.`,
        );
      }
      const paired = architecture === 'llama' ? /\.(q|k)_proj\./.exec(name)?.[1] : undefined;
      const heads = paired === 'q' ? config.num_attention_heads : config.num_key_value_heads;
      tensors.set(name, { tensor, pairedHeads: paired === undefined ? 0 : Number(heads) });
    }
    return new GgufModel(gguf, config, tensors);
  }

  /** @throws AlloyError `bad-file` when there is no such tensor */
  entry(name: string): GgufModelTensor {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      throw new AlloyError(
        'bad-file',
        `${this.gguf.source.name}: the tensor for ${JSON.stringify(name)} is missing; the file does not fit its own metadata, get it again.`,
      );
    }
    return entry;
  }

  /** The tensor's blocks in the file's type, rows in Hugging Face's order. */
  async readRaw(name: string, range?: RowRange): Promise<Uint8Array<ArrayBuffer>> {
    const { tensor, pairedHeads } = this.entry(name);
    if (pairedHeads === 0) return await this.gguf.readRaw(tensor.name, range);
    const raw = await this.gguf.readRaw(tensor.name);
    const rows = tensor.shape[0] ?? 0;
    const headDim = rows / pairedHeads;
    if (headDim % 2 !== 0) {
      throw new AlloyError(
        'bad-file',
        `${this.gguf.source.name}: the tensor "${tensor.name}" has ${rows} rows, which ${pairedHeads} heads cannot share in pairs; the file does not fit its own metadata, get it again.`,
      );
    }
    const whole = unpairRows(raw, raw.length / rows, pairedHeads, headDim);
    if (!range) return whole;
    const { offset, length } = byteRange(range, rows, whole.length);
    return whole.slice(offset, offset + length);
  }

  /** The tensor as f32, row after row. */
  async readFloat32(name: string, rows?: RowRange): Promise<Float32Array<ArrayBuffer>> {
    const { type } = this.entry(name).tensor;
    return dequantize(type.name, await this.readRaw(name, rows), this.#label(name));
  }

  /** A quantized matrix in affine blocks without a second rounding; null where the file has plain numbers (F32, F16, BF16). */
  async readPacked(name: string, range?: RowRange): Promise<PackedMatrix | null> {
    const { tensor } = this.entry(name);
    if (isPlainType(tensor.type.name)) return null;
    const cols = tensor.shape.at(-1) ?? 1;
    const rows = range?.count ?? tensor.shape.slice(0, -1).reduce((product, size) => product * size, 1);
    return repack(tensor.type.name, await this.readRaw(name, range), rows, cols, this.#label(name));
  }

  #label(name: string): string {
    return `${this.gguf.source.name}: the tensor "${this.entry(name).tensor.name}"`;
  }
}
