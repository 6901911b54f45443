import type { Device } from '../device/device.ts';
import type { WeightFormat } from '../kernels/weightFormat.ts';
import { AlloyError, required } from '../util/errors.ts';
import { canonicalTensors } from './canonicalTensors.ts';
import type { DecoderConfig } from './config.ts';
import type { DecoderWeights, MatrixName } from './decoder.ts';
import { DecoderPlaces, type PlaceOptions } from './decoderPlaces.ts';
import { familyOf } from './families/families.ts';
import type { MatrixSpec } from './families/family.ts';
import type { ParameterSpec, Parameters } from './parameters.ts';
import { PieceReader } from './pieceReader.ts';
import type { Precision, TensorSource } from './tensorSource.ts';

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

export interface LoadOptions extends PlaceOptions {
  readonly precision?: Precision;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Reads, checks and uploads a decoder tensor by tensor, large ones run of rows by run of rows. */
export async function loadDecoder(
  device: Device,
  config: DecoderConfig,
  file: TensorSource,
  options: LoadOptions = {},
): Promise<LoadedDecoder> {
  checkTensors(config, file);
  const source = canonicalTensors(config, file);
  const specs = decoderTensors(config);
  const places = new DecoderPlaces(device, config, specs, options);
  const reader = new PieceReader(device, source, options.precision ?? 'file');
  try {
    for (const [index, spec] of specs.entries()) {
      if (options.signal?.aborted) throw new AlloyError('cancelled', `Loading ${source.file} was cancelled.`);
      if (spec.kind === 'matrix') await reader.matrix(places, spec);
      else await reader.vector(places, spec);
      options.onProgress?.(index + 1, specs.length);
    }
    await device.settled();
  } catch (error) {
    places.dispose();
    throw error;
  }
  return {
    weights: places.weights(),
    bytes: places.bytes,
    parameters: places.parameters,
    dispose: () => places.dispose(),
  };
}

/**
 * Gives every tensor of a decoder its place, for a device on paper.
 * @param format of a matrix by its name
 */
export function placeDecoder(
  device: Device,
  config: DecoderConfig,
  format: (name: string) => WeightFormat,
  options: PlaceOptions = {},
): LoadedDecoder {
  const specs = decoderTensors(config);
  const places = new DecoderPlaces(device, config, specs, options);
  for (const spec of specs) {
    if (spec.kind === 'matrix') places.matrix(spec, format(spec.name));
    else places.vector(spec);
  }
  return {
    weights: places.weights(),
    bytes: places.bytes,
    parameters: places.parameters,
    dispose: () => places.dispose(),
  };
}
