import type { Gpu } from '../gpu/gpu.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Matrix, Tensor, Weight, WeightChunk } from '../graph/tensor.ts';
import { type PackedMatrix, rowWords, scaleBytes } from '../kernels/weightFormat.ts';
import { AlloyError, required } from '../util/errors.ts';
import { canonicalTensors } from './canonicalTensors.ts';
import type { DecoderConfig } from './config.ts';
import type { DecoderWeights, LayerWeights, MatrixName } from './decoder.ts';
import { familyOf } from './families/families.ts';
import type { MatrixSpec } from './families/family.ts';
import { checkFinite } from './finiteWeights.ts';
import { type ParameterSpec, Parameters } from './parameters.ts';
import { type Precision, type TensorSource, toPrecision } from './tensorSource.ts';

/** The Hugging Face name of a layer's matrix without its suffix, e.g. `model.layers.3.self_attn.q_proj`. */
export function matrixPath(config: DecoderConfig, layer: number, matrix: MatrixName): string {
  return `${familyOf(config).names.layers}.${layer}.${matrixSpec(config, matrix).path}`;
}

/** `[out, in]` of a layer's matrix. */
export function matrixShape(config: DecoderConfig, matrix: MatrixName): readonly [number, number] {
  return matrixSpec(config, matrix).shape;
}

/** Names of the matrices of a layer, in the order of a layer. */
export function matrixNames(config: DecoderConfig): MatrixName[] {
  return familyOf(config)
    .matrices(config)
    .map(({ name }) => name);
}

function matrixSpec(config: DecoderConfig, matrix: MatrixName): MatrixSpec {
  const specs = familyOf(config).matrices(config);
  return required(
    specs.find(({ name }) => name === matrix),
    `the matrix ${matrix} of ${config.family}`,
  );
}

/** A tensor as the engine keeps it. */
export interface DecoderTensor extends ParameterSpec {
  /** A matrix that rows are multiplied with, or numbers that are added or multiplied one by one: these stay f32. */
  readonly kind: 'matrix' | 'values';
  /** The family's own files keep it `[in, out]`. */
  readonly conv1d: boolean;
}

/** Every tensor of a decoder with its shape, by Hugging Face name; matrices are `[out, in]` (see `canonicalTensors`). */
export function decoderTensors(config: DecoderConfig): DecoderTensor[] {
  const family = familyOf(config);
  const { names } = family;
  const specs: DecoderTensor[] = [];
  const matrix = (name: string, shape: readonly [number, number], conv1d = false) =>
    specs.push({ name, shape, kind: 'matrix', conv1d });
  const values = (name: string, ...shape: readonly number[]) =>
    specs.push({ name, shape, kind: 'values', conv1d: false });
  matrix(names.embedding, [config.vocabSize, config.width]);
  if (names.positions) values(names.positions, config.maxPositions, config.width);
  const [vectors, matrices] = [family.vectors(config), family.matrices(config)];
  config.layers.forEach((_, layer) => {
    const place = `${names.layers}.${layer}`;
    for (const { path, size } of vectors) values(`${place}.${path}`, size);
    for (const { path, shape, bias, conv1d } of matrices) {
      matrix(`${place}.${path}.weight`, shape, conv1d);
      if (bias) values(`${place}.${path}.bias`, shape[0]);
    }
  });
  values(`${names.finalNorm}.weight`, config.width);
  if (names.finalNormBias) values(`${names.finalNorm}.bias`, config.width);
  if (!config.tiedHead) matrix(names.head, [config.vocabSize, config.width]);
  return specs;
}

/**
 * @throws AlloyError `bad-file` naming the first tensor that is missing, has another shape than the config says, or belongs
 *   to a layer that the config does not have so; `unsupported` for one of integers
 */
export function checkTensors(config: DecoderConfig, file: TensorSource): void {
  const source = canonicalTensors(config, file);
  const specs = decoderTensors(config);
  const known = new Set(specs.map(({ name }) => name));
  for (const { name, shape } of specs) {
    const found = source.shape(name);
    if (!found) {
      throw new AlloyError(
        'bad-file',
        `${source.file}: the tensor ${name} is missing, which the config asks for; take weights and config from the same model.`,
      );
    }
    if (found.length !== shape.length || found.some((size, axis) => size !== shape[axis])) {
      throw new AlloyError(
        'bad-file',
        `${source.file}: the tensor ${name} has the shape [${found.join(', ')}] but the config asks for [${shape.join(', ')}]; take weights and config from the same model.`,
      );
    }
    const dtype = source.dtype?.(name);
    if (dtype !== undefined && !/^(BF|F)\d/.test(dtype)) {
      throw new AlloyError(
        'unsupported',
        `${source.file}: the tensor ${name} holds ${dtype}, which are no weights that Alloy reads; use the model in F32, F16 or BF16, or a GGUF file.`,
      );
    }
  }
  const { names } = familyOf(config);
  for (const name of source.names?.() ?? []) {
    // One that the config does not ask for would change what the model computes.
    const parameter = name.startsWith(`${names.layers}.`) && /\.(weight|bias)$/.test(name);
    if (!parameter || known.has(name) || names.ignored?.test(name)) continue;
    throw new AlloyError(
      'bad-file',
      `${source.file}: the tensor ${name} has no place in the layers that the config describes; take weights and config from the same model.`,
    );
  }
}

/** The weights of a model on the GPU, with what frees them. */
export interface LoadedDecoder {
  readonly weights: DecoderWeights;
  readonly bytes: number;
  /** Present when every tensor is trainable. */
  readonly parameters: Parameters | undefined;
  dispose(): void;
}

export interface LoadOptions {
  readonly precision?: Precision;
  /** Makes every tensor a trainable f32 parameter. */
  readonly trainable?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Reads, checks and uploads a decoder tensor by tensor. */
export async function loadDecoder(
  gpu: Gpu,
  config: DecoderConfig,
  file: TensorSource,
  options: LoadOptions = {},
): Promise<LoadedDecoder> {
  checkTensors(config, file);
  const source = canonicalTensors(config, file);
  const specs = decoderTensors(config);
  const parameters = options.trainable ? new Parameters(gpu, specs) : undefined;
  const frozen = new FrozenTensors(gpu, options.precision ?? 'file');
  const tensors = new Map<string, Tensor>();
  const matrices = new Map<string, Weight>();
  try {
    for (const [index, { name, kind }] of specs.entries()) {
      if (options.signal?.aborted) throw new AlloyError('cancelled', `Loading ${source.file} was cancelled.`);
      if (kind === 'matrix') {
        const matrix = await source.matrix(name);
        checkFinite(source.file, name, matrix);
        parameters?.set(name, f32Of(toPrecision(matrix, 'f32')));
        matrices.set(name, parameters?.weight(name) ?? frozen.matrix(name, matrix));
      } else {
        const vector = await source.vector(name);
        checkFinite(source.file, name, vector);
        parameters?.set(name, vector);
        tensors.set(name, parameters?.tensor(name) ?? frozen.vector(name, vector));
      }
      options.onProgress?.(index + 1, specs.length);
    }
  } catch (error) {
    frozen.dispose();
    parameters?.dispose();
    throw error;
  }
  return {
    weights: assemble(config, tensors, matrices),
    bytes: frozen.bytes + (parameters?.bytes ?? 0),
    parameters,
    dispose() {
      frozen.dispose();
      parameters?.dispose();
    },
  };
}

function f32Of(matrix: PackedMatrix): Float32Array<ArrayBuffer> {
  return new Float32Array(matrix.data.buffer, matrix.data.byteOffset, matrix.data.length);
}

/** Uploads tensors that are not trained and remembers their buffers. */
export class FrozenTensors {
  bytes = 0;
  #gpu: Gpu;
  #precision: Precision;
  #buffers: ReturnType<Gpu['createFrom']>[] = [];

  constructor(gpu: Gpu, precision: Precision = 'file') {
    this.#gpu = gpu;
    this.#precision = precision;
  }

  vector(name: string, values: Float32Array<ArrayBuffer>): Tensor {
    return this.#tensor(name, [values.length], values);
  }

  /** In chunks of rows small enough for one binding each. */
  matrix(name: string, matrix: PackedMatrix): Weight {
    const packed = toPrecision(matrix, this.#precision);
    const { format, rows, cols } = packed;
    const words = rowWords(format, cols);
    const scaleWords = scaleBytes(format, 1, cols) / 4;
    const rowBytes = 4 * Math.max(words, scaleWords);
    const most = Math.max(1, Math.floor(this.#gpu.limits.bindingBytes / rowBytes));
    const chunkCount = Math.ceil(rows / most);
    const chunkRows = Math.ceil(rows / chunkCount);
    const chunks: WeightChunk[] = [];
    for (let rowStart = 0; rowStart < rows; rowStart += chunkRows) {
      const count = Math.min(chunkRows, rows - rowStart);
      const data = packed.data.subarray(rowStart * words, (rowStart + count) * words);
      const scales = packed.scales?.subarray(rowStart * scaleWords, (rowStart + count) * scaleWords);
      chunks.push({
        rowStart,
        rows: count,
        data: this.#tensor(name, [count, cols], data),
        scales: scales && this.#tensor(`${name}.scales`, [scales.length], scales),
      });
    }
    return { name, rows, cols, format, chunks };
  }

  dispose(): void {
    for (const buffer of this.#buffers) this.#gpu.destroyBuffer(buffer);
    this.#buffers = [];
  }

  #tensor(
    name: string,
    shape: readonly number[],
    data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  ): Tensor {
    const buffer = this.#gpu.createFrom(data, name);
    this.#buffers.push(buffer);
    this.bytes += buffer.bytes;
    return tensorIn(buffer, name, shape);
  }
}

function assemble(
  config: DecoderConfig,
  tensors: ReadonlyMap<string, Tensor>,
  matrices: ReadonlyMap<string, Weight>,
): DecoderWeights {
  const family = familyOf(config);
  const { names } = family;
  const weight = (name: string) => required(matrices.get(name), name);
  const tensor = (name: string) => required(tensors.get(name), name);
  const embedding = weight(names.embedding);
  const layers = config.layers.map((_, layer): LayerWeights => {
    const place = `${names.layers}.${layer}`;
    const matrix = ({ path }: MatrixSpec): Matrix => ({
      weight: weight(`${place}.${path}.weight`),
      bias: tensors.get(`${place}.${path}.bias`),
      adapter: undefined,
      delta: undefined,
    });
    return {
      matrices: Object.fromEntries(family.matrices(config).map((spec) => [spec.name, matrix(spec)])),
      vectors: Object.fromEntries(
        family.vectors(config).map(({ name, path }) => [name, tensor(`${place}.${path}`)]),
      ),
    };
  });
  return {
    embedding,
    layers,
    positions: names.positions === undefined ? undefined : tensor(names.positions),
    finalNorm: tensor(`${names.finalNorm}.weight`),
    finalNormBias: tensors.get(`${names.finalNorm}.bias`),
    head: config.tiedHead ? embedding : weight(names.head),
  };
}
