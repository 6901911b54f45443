import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import { byteRange, type RowRange } from '../util/rowRange.ts';
import { GgufFile, type GgufTensor, type OpenBeside } from './gguf.ts';
import { ggufArchitecture, ggufConfig, headCounts } from './ggufConfig.ts';
import { dequantize, isPlainType } from './ggufDequantize.ts';
import { huggingFaceName, type RowOrder, regroupRows, rowOrder } from './ggufFamilies.ts';
import { type PackedMatrix, repack, unpairRows } from './repack.ts';

/** Tensors that are no parameters: their content is in the config. */
const ignored = new Set(['rope_freqs.weight', 'rope_factors_long.weight', 'rope_factors_short.weight']);

/** A tensor of a GGUF model under its Hugging Face name. */
export interface GgufModelTensor {
  readonly tensor: GgufTensor;
  readonly order: RowOrder;
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
      tensors.set(name, { tensor, order: rowOrder(architecture, tensor.name, headCounts(config)) });
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
    const { tensor, order } = this.entry(name);
    if (order.kind === 'file') return await this.gguf.readRaw(tensor.name, range);
    const raw = await this.gguf.readRaw(tensor.name);
    const rows = tensor.shape[0] ?? 0;
    const groups = order.kind === 'paired' ? order.heads : 3 * order.heads;
    const headDim = rows / groups;
    if (!Number.isInteger(headDim) || (order.kind === 'paired' && headDim % 2 !== 0)) {
      throw new AlloyError(
        'bad-file',
        `${this.gguf.source.name}: the tensor "${tensor.name}" has ${rows} rows, which ${order.heads} heads cannot share${order.kind === 'paired' ? ' in pairs' : ''}; the file does not fit its own metadata, get it again.`,
      );
    }
    const reorder = order.kind === 'paired' ? unpairRows : regroupRows;
    const whole = reorder(raw, raw.length / rows, order.heads, headDim);
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
