import type { Device } from '../device/device.ts';
import type { Matrix, Tensor, Weight } from '../graph/tensor.ts';
import { formatName, type PackedMatrix, type WeightFormat } from '../kernels/weightFormat.ts';
import { required } from '../util/errors.ts';
import type { DecoderConfig } from './config.ts';
import type { DecoderWeights, LayerWeights } from './decoder.ts';
import { familyOf } from './families/families.ts';
import type { MatrixSpec } from './families/family.ts';
import { FrozenTensors } from './frozenTensors.ts';
import { type Optimizer, type ParameterSpec, Parameters } from './parameters.ts';
import { toPrecision } from './tensorSource.ts';

export interface PlaceOptions {
  /** Makes every tensor a trainable f32 parameter. */
  readonly trainable?: boolean;
  /** How the moments of trainable tensors are kept. */
  readonly optimizer?: Optimizer;
}

/** Takes rows of a matrix in any format that its place can hold. */
export type WriteRows = (rowStart: number, rows: PackedMatrix) => void;

/** Where the tensors of a decoder lie on a device; on a device on paper, what they take. */
export class DecoderPlaces {
  readonly parameters: Parameters | undefined;
  readonly #config: DecoderConfig;
  readonly #frozen: FrozenTensors;
  readonly #tensors = new Map<string, Tensor>();
  readonly #matrices = new Map<string, Weight>();

  /** @param specs all tensors of the decoder */
  constructor(device: Device, config: DecoderConfig, specs: readonly ParameterSpec[], options: PlaceOptions) {
    this.#config = config;
    this.#frozen = new FrozenTensors(device);
    const { optimizer = 'adamw' } = options;
    this.parameters = options.trainable
      ? new Parameters(device, specs, { kind: 'weights', optimizer })
      : undefined;
  }

  get bytes(): number {
    return this.#frozen.bytes + (this.parameters?.bytes ?? 0);
  }

  /** A place for a vector or for a matrix of plain numbers. @returns what fills it */
  vector({ name, shape }: ParameterSpec): (values: Float32Array<ArrayBuffer>) => void {
    const { parameters } = this;
    this.#tensors.set(name, parameters?.tensor(name) ?? this.#frozen.placeVector(name, shape));
    return (values) => (parameters ? parameters.set(name, values) : this.#frozen.fill(name, values));
  }

  /** A place for a matrix in a format (trainable ones are f32). A second place takes that of the first. */
  matrix({ name, shape }: ParameterSpec, format: WeightFormat): WriteRows {
    const { parameters } = this;
    if (parameters) {
      this.#matrices.set(name, parameters.weight(name));
      return (rowStart, rows) => parameters.set(name, f32Of(toPrecision(rows, 'f32')), rowStart);
    }
    const [rows = 1, cols = 1] = shape;
    this.#frozen.release(name);
    const { weight, write } = this.#frozen.placeMatrix(name, rows, cols, format);
    this.#matrices.set(name, weight);
    return write;
  }

  /** Whether rows of this format can be written to the place of a matrix. */
  holds(name: string, format: WeightFormat): boolean {
    if (this.parameters) return true;
    const place = this.#matrices.get(name);
    return place !== undefined && formatName(place.format) === formatName(format);
  }

  /** The decoder, when every tensor has its place. */
  weights(): DecoderWeights {
    const config = this.#config;
    const family = familyOf(config);
    const { names } = family;
    const weight = (name: string) => required(this.#matrices.get(name), name);
    const tensor = (name: string) => required(this.#tensors.get(name), name);
    const embedding = weight(names.embedding);
    const layers = config.layers.map((_, layer): LayerWeights => {
      const place = `${names.layers}.${layer}`;
      const matrix = ({ path }: MatrixSpec): Matrix => ({
        weight: weight(`${place}.${path}.weight`),
        bias: this.#tensors.get(`${place}.${path}.bias`),
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
      finalNormBias: this.#tensors.get(`${names.finalNorm}.bias`),
      head: config.tiedHead ? embedding : weight(names.head),
    };
  }

  dispose(): void {
    this.#frozen.dispose();
    this.parameters?.dispose();
  }
}

function f32Of(matrix: PackedMatrix): Float32Array<ArrayBuffer> {
  return new Float32Array(matrix.data.buffer, matrix.data.byteOffset, matrix.data.length);
}
