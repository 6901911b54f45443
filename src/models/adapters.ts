import type { Device } from '../device/device.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import type { Adapter, Matrix, Tensor, Weight } from '../graph/tensor.ts';
import { AlloyError, required } from '../util/errors.ts';
import { randomStream } from '../util/random.ts';
import type { DecoderConfig } from './config.ts';
import type { DecoderWeights, LayerWeights, MatrixName } from './decoder.ts';
import { FrozenTensors } from './frozenTensors.ts';
import { type Optimizer, type ParameterSpec, Parameters } from './parameters.ts';
import { matrixNames, matrixPath, matrixShape } from './weights.ts';

/** Which matrices get low-rank factors, and how large they are; the factor of `B A` is alpha / rank. */
export interface LoraPlan {
  readonly rank: number;
  readonly alpha: number;
  readonly matrices: MatrixChoice;
  /** How AdamW keeps its moments; f32 unless told. */
  readonly optimizer?: Optimizer;
}

/** `all` linear layers of a decoder layer, or some by name. */
export type MatrixChoice = 'all' | readonly MatrixName[];

/** Where a family lacks a matrix: those that do its work. */
const COUNTERPARTS: Readonly<Record<string, readonly MatrixName[]>> = {
  q: ['qkv'],
  k: ['qkv'],
  v: ['qkv'],
  qkv: ['q', 'k', 'v'],
  gate: ['gateUp', 'up'],
  up: ['gateUp'],
  gateUp: ['gate', 'up'],
};

/**
 * The matrices of a family that a choice means, in the order of a layer: of `q` and `v`, where a model has them fused with k
 * in one matrix, that one.
 * @throws AlloyError `bad-recipe` for a name that means nothing in this family
 */
export function chosenMatrices(config: DecoderConfig, choice: MatrixChoice): MatrixName[] {
  const names = matrixNames(config);
  if (choice === 'all') return names;
  const meant = new Set<MatrixName>();
  for (const asked of choice) {
    const found = [asked, ...(COUNTERPARTS[asked] ?? [])].filter((name) => names.includes(name));
    if (found.length === 0)
      throw new AlloyError(
        'bad-recipe',
        `The pivot (${config.family}) has no matrix "${asked}"; choose among ${names.join(', ')} in train.matrices, or all.`,
      );
    for (const name of found[0] === asked ? [asked] : found) meant.add(name);
  }
  return names.filter((name) => meant.has(name));
}

/** One adapted matrix of a model. */
export interface AdaptedMatrix {
  readonly layer: number;
  readonly matrix: MatrixName;
  /** Hugging Face's module name. */
  readonly path: string;
}

/** All matrices that a plan adapts, layer by layer. */
export function adaptedMatrices(config: DecoderConfig, matrices: MatrixChoice): AdaptedMatrix[] {
  const names = chosenMatrices(config, matrices);
  return config.layers.flatMap((_, layer) =>
    names.map((matrix) => ({ layer, matrix, path: matrixPath(config, layer, matrix) })),
  );
}

/** The same weights with something added to some matrices. */
export function withMatrices(
  weights: DecoderWeights,
  change: (layer: number, matrix: MatrixName, old: Matrix) => Matrix,
): DecoderWeights {
  const layers = weights.layers.map((layer, index): LayerWeights => {
    const changed = Object.entries(layer.matrices).map(([name, old]) => [name, change(index, name, old)]);
    return { ...layer, matrices: Object.fromEntries(changed) };
  });
  return { ...weights, layers };
}

/** Trainable low-rank factors on a frozen model. */
export class TrainableAdapters {
  readonly parameters: Parameters;
  readonly weights: DecoderWeights;
  readonly #config: DecoderConfig;
  readonly #plan: LoraPlan;
  readonly #scale: FrozenTensors;

  constructor(device: Device, config: DecoderConfig, base: DecoderWeights, lora: LoraPlan) {
    this.#config = config;
    this.#plan = lora;
    const matrices = chosenMatrices(config, lora.matrices);
    this.#scale = new FrozenTensors(device, 'adapters');
    const scale = this.#scale.vector('adapter scale', Float32Array.of(lora.alpha / lora.rank));
    this.parameters = new Parameters(device, adapterSpecs(config, lora), {
      ...(lora.optimizer && { optimizer: lora.optimizer }),
    });
    this.weights = withMatrices(base, (layer, matrix, old) =>
      matrices.includes(matrix)
        ? { ...old, adapter: this.#adapter(matrixPath(config, layer, matrix), scale) }
        : old,
    );
  }

  /**
   * A uniform in ±1/√in (PyTorch's Kaiming initialisation as PEFT uses it), keyed by the matrix's name; B zero, so that
   * training starts at the base model.
   */
  initialise(seed: number): void {
    for (const { matrix, path } of adaptedMatrices(this.#config, this.#plan.matrices)) {
      const [, columns] = matrixShape(this.#config, matrix);
      const random = randomStream(seed, `lora A of ${path}`);
      const bound = 1 / Math.sqrt(columns);
      const a = Float32Array.from(
        { length: this.#plan.rank * columns },
        (_, i) => (2 * random.uniform(i) - 1) * bound,
      );
      const [rows] = matrixShape(this.#config, matrix);
      this.set(path, a, new Float32Array(rows * this.#plan.rank));
    }
  }

  /** Factors of one matrix: `a` `[r, in]`, `b` `[out, r]`. */
  set(path: string, a: Float32Array<ArrayBuffer>, b: Float32Array<ArrayBuffer>): void {
    this.parameters.set(nameA(path), a);
    this.parameters.set(nameB(path), b);
  }

  /** The delta as it is now. */
  async read(): Promise<LoraMatrix[]> {
    const values = await this.parameters.readAll();
    return adaptedMatrices(this.#config, this.#plan.matrices).map(({ matrix, path }) => {
      const [outFeatures, inFeatures] = matrixShape(this.#config, matrix);
      return {
        module: path,
        rank: this.#plan.rank,
        scale: this.#plan.alpha / this.#plan.rank,
        inFeatures,
        outFeatures,
        a: required(values.get(nameA(path)), path),
        b: required(values.get(nameB(path)), path),
      };
    });
  }

  dispose(): void {
    this.parameters.dispose();
    this.#scale.dispose();
  }

  #adapter(path: string, scale: Tensor): Adapter {
    return {
      a: this.parameters.weight(nameA(path)),
      b: this.parameters.weight(nameB(path)),
      rank: this.#plan.rank,
      scale,
      scaleOffset: 0,
    };
  }
}

function nameA(path: string): string {
  return `${path}.lora_A.weight`;
}

function nameB(path: string): string {
  return `${path}.lora_B.weight`;
}

function adapterSpecs(config: DecoderConfig, { rank, matrices }: LoraPlan): ParameterSpec[] {
  return adaptedMatrices(config, matrices).flatMap(({ matrix, path }) => {
    const [rows, columns] = matrixShape(config, matrix);
    return [
      { name: nameA(path), shape: [rank, columns] },
      { name: nameB(path), shape: [rows, rank] },
    ];
  });
}

/**
 * Frozen low-rank deltas of several sources side by side, each times a weight of its own per matrix that can be written
 * while the model runs: `y += Σ_s w[s, matrix] · scale_s · B_s (A_s x)`. All deltas must have one rank.
 */
export class LiveAdapters {
  readonly weights: DecoderWeights;
  readonly matrices: readonly AdaptedMatrix[];
  readonly sources: number;
  readonly bytes: number;
  /** f32 `[matrix, source]`: merge weight times the delta's own scale. */
  readonly scales: Tensor;
  readonly #device: Device;
  readonly #frozen: FrozenTensors;
  readonly #own: readonly (readonly number[])[];
  readonly #values: Float32Array<ArrayBuffer>;
  readonly #factors = new Map<string, { a: Weight; b: Weight; rank: number }>();

  /** @param deltas one list of matrices a source, in the order of the sources */
  constructor(
    device: Device,
    config: DecoderConfig,
    base: DecoderWeights,
    deltas: readonly (readonly LoraMatrix[])[],
  ) {
    this.#device = device;
    this.#frozen = new FrozenTensors(device, 'adapters');
    this.sources = deltas.length;
    const modules = new Set(deltas.flatMap((delta) => delta.map(({ module }) => module)));
    this.matrices = adaptedMatrices(config, 'all').filter(({ path }) => modules.has(path));
    const byPath = this.matrices.map(({ path }) =>
      deltas.map((delta) =>
        required(
          delta.find(({ module }) => module === path),
          `the delta of ${path}`,
        ),
      ),
    );
    this.#own = byPath.map((parts) => parts.map(({ scale }) => scale));
    this.#values = new Float32Array(this.matrices.length * this.sources);
    this.scales = this.#frozen.vector('merge weights', this.#values);
    const adapters = new Map<string, Adapter>();
    this.matrices.forEach(({ path }, index) => {
      const parts = required(byPath[index], path);
      const rank = Math.max(...parts.map((part) => part.rank));
      const a = this.#frozen.matrix(`${path}.A`, stackRows(parts, rank));
      const b = this.#frozen.matrix(`${path}.B`, joinColumns(parts, rank));
      this.#factors.set(path, { a, b, rank });
      adapters.set(path, { a, b, rank, scale: this.scales, scaleOffset: index * this.sources });
    });
    this.bytes = this.#frozen.bytes;
    this.weights = withMatrices(base, (layer, matrix, old) => {
      const adapter = adapters.get(matrixPath(config, layer, matrix));
      return adapter ? { ...old, adapter } : old;
    });
  }

  /** The factors of matrix `index`, for kernels that make the dense delta. */
  factors(index: number): { readonly a: Weight; readonly b: Weight; readonly rank: number } {
    const path = required(this.matrices[index], `matrix ${index}`).path;
    return required(this.#factors.get(path), path);
  }

  /** Own scales (alpha / rank) of the sources' deltas of matrix `index`. */
  ownScales(index: number): readonly number[] {
    return required(this.#own[index], `matrix ${index}`);
  }

  /** Sets all merge weights: `weight(matrix, source)`. */
  setWeights(weight: (matrix: number, source: number) => number): void {
    this.#own.forEach((scales, matrix) => {
      scales.forEach((scale, source) => {
        this.#values[matrix * this.sources + source] = scale * weight(matrix, source);
      });
    });
    const { home } = this.scales;
    if (home) this.#device.upload(home, this.#values);
  }

  dispose(): void {
    this.#frozen.dispose();
  }
}

/** A of all sources below each other, `[S·r, in]`; ranks below `rank` are filled up with zeros. */
function stackRows(parts: readonly LoraMatrix[], rank: number) {
  const cols = parts[0]?.inFeatures ?? 0;
  const data = new Float32Array(parts.length * rank * cols);
  parts.forEach(({ a }, source) => {
    data.set(a, source * rank * cols);
  });
  return { format: { kind: 'f32' as const }, rows: parts.length * rank, cols, data };
}

/** B of all sources side by side, `[out, S·r]`. */
function joinColumns(parts: readonly LoraMatrix[], rank: number) {
  const rows = parts[0]?.outFeatures ?? 0;
  const cols = parts.length * rank;
  const data = new Float32Array(rows * cols);
  parts.forEach((part, source) => {
    for (let row = 0; row < rows; row++) {
      data.set(part.b.subarray(row * part.rank, (row + 1) * part.rank), row * cols + source * rank);
    }
  });
  return { format: { kind: 'f32' as const }, rows, cols, data };
}
