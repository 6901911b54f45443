import type { Gpu } from '../gpu/gpu.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Matrix, Tensor, Weight, WeightChunk } from '../graph/tensor.ts';
import { type PackedMatrix, rowWords, scaleBytes } from '../kernels/weightFormat.ts';
import { AlloyError, required } from '../util/errors.ts';
import type { DecoderConfig } from './config.ts';
import { type DecoderWeights, type LayerWeights, MATRICES, type MatrixName } from './decoder.ts';
import { checkFinite } from './finiteWeights.ts';
import { type ParameterSpec, Parameters } from './parameters.ts';
import { type Precision, type TensorSource, toPrecision } from './tensorSource.ts';

const MATRIX_PATHS: Readonly<Record<MatrixName, string>> = {
  q: 'self_attn.q_proj',
  k: 'self_attn.k_proj',
  v: 'self_attn.v_proj',
  o: 'self_attn.o_proj',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
};

/** The Hugging Face name of a layer's matrix without its suffix, e.g. `model.layers.3.self_attn.q_proj`. */
export function matrixPath(layer: number, matrix: MatrixName): string {
  return `model.layers.${layer}.${MATRIX_PATHS[matrix]}`;
}

/** `[out, in]` of a layer's matrix. */
export function matrixShape(config: DecoderConfig, matrix: MatrixName): readonly [number, number] {
  const { width, ffn, heads, kvHeads, headDim } = config;
  switch (matrix) {
    case 'q':
      return [heads * headDim, width];
    case 'k':
    case 'v':
      return [kvHeads * headDim, width];
    case 'o':
      return [width, heads * headDim];
    case 'gate':
    case 'up':
      return [ffn, width];
    case 'down':
      return [width, ffn];
    default:
      return matrix satisfies never;
  }
}

function hasBias(config: DecoderConfig, matrix: MatrixName): boolean {
  if (matrix === 'q' || matrix === 'k' || matrix === 'v') return config.bias.qkv;
  return matrix === 'o' ? config.bias.output : config.bias.mlp;
}

/** The norms of a layer: key of `LayerWeights` → name in the file, for those that the config has. */
function layerNorms(config: DecoderConfig): readonly (readonly [keyof LayerWeights, string, number])[] {
  const { width, headDim } = config;
  const heads = [
    ['qNorm', 'self_attn.q_norm', headDim],
    ['kNorm', 'self_attn.k_norm', headDim],
  ] as const;
  const outer = config.postNorms
    ? ([
        ['inputNorm', 'input_layernorm', width],
        ['attentionOutNorm', 'post_attention_layernorm', width],
        ['mlpNorm', 'pre_feedforward_layernorm', width],
        ['mlpOutNorm', 'post_feedforward_layernorm', width],
      ] as const)
    : ([
        ['inputNorm', 'input_layernorm', width],
        ['mlpNorm', 'post_attention_layernorm', width],
      ] as const);
  return config.headNorms ? [...outer, ...heads] : outer;
}

const EMBEDDING = 'model.embed_tokens.weight';
const FINAL_NORM = 'model.norm.weight';
const HEAD = 'lm_head.weight';

/** Every tensor of a decoder with its shape, by Hugging Face name. */
export function decoderTensors(config: DecoderConfig): ParameterSpec[] {
  const specs: ParameterSpec[] = [{ name: EMBEDDING, shape: [config.vocabSize, config.width] }];
  config.layers.forEach((_, layer) => {
    for (const [, path, width] of layerNorms(config))
      specs.push({ name: `model.layers.${layer}.${path}.weight`, shape: [width] });
    for (const matrix of MATRICES) {
      const shape = matrixShape(config, matrix);
      specs.push({ name: `${matrixPath(layer, matrix)}.weight`, shape });
      if (hasBias(config, matrix))
        specs.push({ name: `${matrixPath(layer, matrix)}.bias`, shape: [shape[0]] });
    }
  });
  specs.push({ name: FINAL_NORM, shape: [config.width] });
  if (!config.tiedHead) specs.push({ name: HEAD, shape: [config.vocabSize, config.width] });
  return specs;
}

/** Parameters of a layer: one that the config does not ask for would change what the model computes. */
const LAYER_TENSOR = /^model\.layers\.\d+\..*\.(weight|bias)$/;

/**
 * @throws AlloyError `bad-file` naming the first tensor that is missing, has another shape than the config says, or belongs
 *   to a layer that the config does not have so; `unsupported` for one of integers
 */
export function checkTensors(config: DecoderConfig, source: TensorSource): void {
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
  for (const name of source.names?.() ?? []) {
    if (!LAYER_TENSOR.test(name) || known.has(name)) continue;
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
  source: TensorSource,
  options: LoadOptions = {},
): Promise<LoadedDecoder> {
  checkTensors(config, source);
  const specs = decoderTensors(config);
  const parameters = options.trainable ? new Parameters(gpu, specs) : undefined;
  const frozen = new FrozenTensors(gpu, options.precision ?? 'file');
  const tensors = new Map<string, Tensor>();
  const matrices = new Map<string, Weight>();
  try {
    for (const [index, { name, shape }] of specs.entries()) {
      if (options.signal?.aborted) throw new AlloyError('cancelled', `Loading ${source.file} was cancelled.`);
      if (shape.length === 2) {
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
  const weight = (name: string) => required(matrices.get(name), name);
  const embedding = weight(EMBEDDING);
  const layers = config.layers.map((_, layer) => {
    const norms = new Map(
      layerNorms(config).map(([key, path]) => [key, tensors.get(`model.layers.${layer}.${path}.weight`)]),
    );
    const matrix = (name: MatrixName): Matrix => ({
      weight: weight(`${matrixPath(layer, name)}.weight`),
      bias: tensors.get(`${matrixPath(layer, name)}.bias`),
      adapter: undefined,
      delta: undefined,
    });
    return {
      ...(Object.fromEntries(MATRICES.map((name) => [name, matrix(name)])) as Record<MatrixName, Matrix>),
      inputNorm: required(norms.get('inputNorm'), 'input norm'),
      mlpNorm: required(norms.get('mlpNorm'), 'MLP norm'),
      qNorm: norms.get('qNorm'),
      kNorm: norms.get('kNorm'),
      attentionOutNorm: norms.get('attentionOutNorm'),
      mlpOutNorm: norms.get('mlpOutNorm'),
    };
  });
  return {
    embedding,
    layers,
    finalNorm: required(tensors.get(FINAL_NORM), FINAL_NORM),
    head: config.tiedHead ? embedding : weight(HEAD),
  };
}
