import type { GgufModel } from '../formats/ggufModel.ts';
import { packedFormat } from '../formats/repack.ts';
import type { TensorFolder } from '../formats/shardedSafetensors.ts';
import { packMatrix } from '../kernels/quantize.ts';
import { type PackedMatrix, unpack, type WeightFormat } from '../kernels/weightFormat.ts';
import { AlloyError } from '../util/errors.ts';
import type { RowRange } from '../util/rowRange.ts';

/** How weights lie on the GPU: as the file has them, or converted once while loading. */
export type Precision = 'file' | 'f32' | 'f16' | 'q8' | 'q4';

/** The tensors of one model by their Hugging Face names, whatever file they come from. */
export interface TensorSource {
  /** The file that an error sentence should name. */
  readonly file: string;
  /** Undefined where there is no such tensor. */
  shape(name: string): readonly number[] | undefined;
  /** All tensors, where the source can list them. */
  readonly names?: () => Iterable<string>;
  /** Every matrix is `[out, in]`, also where the family's own files keep it the other way round. */
  readonly turned?: boolean;
  /** The element type as the file writes it, where it is not always one of weights. */
  readonly dtype?: (name: string) => string | undefined;
  /** The format in which `matrix` will give a matrix, where the file tells it before the matrix is read. */
  readonly format?: (name: string) => WeightFormat;
  /**
   * A matrix in the file's own precision; BF16 becomes f32, exactly.
   * @param rows only these are asked for; a source that cannot read a part gives all
   */
  matrix(name: string, rows?: RowRange): Promise<PackedMatrix>;
  vector(name: string): Promise<Float32Array<ArrayBuffer>>;
}

/** Safetensors, one file or sharded. */
export function folderTensors(folder: TensorFolder): TensorSource {
  return {
    file: folder.name,
    shape: (name) => folder.tensors.get(name)?.shape,
    names: () => folder.tensors.keys(),
    dtype: (name) => folder.tensors.get(name)?.dtype,
    vector: (name) => folder.readFloat32(name),
    format(name) {
      const { dtype, shape = [] } = folder.tensors.get(name) ?? {};
      return { kind: dtype === 'F16' && (shape[1] ?? 1) % 2 === 0 ? 'f16' : 'f32' };
    },
    async matrix(name, range) {
      const { dtype, shape = [] } = folder.tensors.get(name) ?? {};
      const [all = 1, cols = 1] = shape;
      const rows = range?.count ?? all;
      if (dtype === 'F16' && cols % 2 === 0) {
        const { bytes } = await folder.readTensor(name, range);
        return {
          format: { kind: 'f16' },
          rows,
          cols,
          data: new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
        };
      }
      return { format: { kind: 'f32' }, rows, cols, data: await folder.readFloat32(name, range) };
    },
  };
}

/** A GGUF file; its blocks become affine blocks without a second rounding. */
export function ggufTensors(model: GgufModel): TensorSource {
  return {
    file: model.gguf.source.name,
    turned: true,
    shape: (name) => model.tensors.get(name)?.tensor.shape,
    names: () => model.tensors.keys(),
    vector: (name) => model.readFloat32(name),
    format: (name) => packedFormat(model.entry(name).tensor.type.name) ?? { kind: 'f32' },
    async matrix(name, range) {
      const packed = await model.readPacked(name, range);
      if (packed) return packed;
      const [all = 1, cols = 1] = model.entry(name).tensor.shape;
      const rows = range?.count ?? all;
      return { format: { kind: 'f32' }, rows, cols, data: await model.readFloat32(name, range) };
    },
  };
}

/** A matrix brought to the wanted precision. */
export function toPrecision(matrix: PackedMatrix, precision: Precision): PackedMatrix {
  if (precision === 'file' || precision === matrix.format.kind) return matrix;
  const values = unpack(matrix);
  const { rows, cols } = matrix;
  const format = formatFor(precision, matrix.format);
  if (format.kind === 'f32') return { format, rows, cols, data: values };
  return packMatrix(values, rows, cols, format);
}

/** The format in which a matrix of the file's format lies on the GPU. */
export function formatFor(precision: Precision, inFile: WeightFormat): WeightFormat {
  switch (precision) {
    case 'file':
      return inFile;
    case 'f32':
    case 'f16':
      return { kind: precision };
    case 'q8':
      return { kind: 'affine', bits: 8, group: 32, scales: 'f16' };
    case 'q4':
      return { kind: 'affine', bits: 4, group: 32, scales: 'f16' };
    default:
      throw new AlloyError('internal', `unknown precision ${precision satisfies never}`);
  }
}
