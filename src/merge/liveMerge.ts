import type { Device, Program } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { Dispatch } from '../device/kernel.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Weight } from '../graph/tensor.ts';
import { mergeDeltas } from '../kernels/deltaMerge.ts';
import { type Selection, selectTop, selectTopBytes } from '../kernels/deltaSelect.ts';
import {
  deltaStats,
  deltaStatsBytes,
  deltaStatsCount,
  type PairStats,
  readDeltaStats,
  type SourceStats,
} from '../kernels/deltaStats.ts';
import type { DeltaSource } from '../kernels/deltaTile.ts';
import { type AdaptedMatrix, LiveAdapters, withMatrices } from '../models/adapters.ts';
import type { DecoderConfig } from '../models/config.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import { required } from '../util/errors.ts';
import { coefficientsOf, type SceVariant } from './sce.ts';

export type LiveMethod =
  | { readonly kind: 'linear'; readonly weights?: readonly number[] | undefined }
  | { readonly kind: 'sce'; readonly variant: SceVariant; readonly tau: number };

/** Numbers of one matrix that the merge is made from. */
export interface MatrixStats extends AdaptedMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly sources: readonly SourceStats[];
  readonly pairs: readonly PairStats[];
  /** Share of Σ|δ| whose sign is not that of the sum over the sources, 0..1. */
  readonly conflict: number;
}

interface MatrixBuffers {
  readonly source: DeltaSource<DeviceBuffer>;
  readonly own: DeviceBuffer;
  readonly shape: { readonly sources: number; readonly rows: number; readonly columns: number };
}

/**
 * A merge of low-rank deltas whose weights can be moved while the model runs. `linear` keeps the factors and only writes
 * the weights; `sce` elects signs element by element, so it makes the dense delta of each changed matrix on the GPU.
 */
export class LiveMerge {
  readonly adapters: LiveAdapters;
  readonly stats: readonly MatrixStats[];
  readonly #device: Device;
  readonly #base: DecoderWeights;
  readonly #matrices: readonly MatrixBuffers[];
  #method: LiveMethod;
  #computed: number[][] = [];
  #weights: number[][] = [];
  #dense: Dense | undefined;

  private constructor(
    device: Device,
    base: DecoderWeights,
    adapters: LiveAdapters,
    matrices: readonly MatrixBuffers[],
    stats: readonly MatrixStats[],
  ) {
    this.#device = device;
    this.#base = base;
    this.adapters = adapters;
    this.#matrices = matrices;
    this.stats = stats;
    this.#method = { kind: 'linear' };
  }

  /** @param deltas one list of matrices a source, all of one rank */
  static async create(
    device: Device,
    config: DecoderConfig,
    base: DecoderWeights,
    deltas: readonly (readonly LoraMatrix[])[],
    method: LiveMethod,
  ): Promise<LiveMerge> {
    const { adapters, matrices } = device.allOrNothing(() => {
      const made = new LiveAdapters(device, config, base, deltas);
      return { adapters: made, matrices: made.matrices.map((_, index) => buffersOf(device, made, index)) };
    });
    let merge: LiveMerge | undefined;
    try {
      await device.settled();
      const stats = await matrixStats(device, adapters, matrices, undefined);
      merge = new LiveMerge(device, base, adapters, matrices, stats);
      await merge.setMethod(method);
      return merge;
    } catch (error) {
      if (merge) merge.dispose();
      else {
        for (const { own } of matrices) device.destroyBuffer(own);
        adapters.dispose();
      }
      throw error;
    }
  }

  get method(): LiveMethod {
    return this.#method;
  }

  /** Weights that the method computed, `[matrix][source]`. */
  get computed(): readonly (readonly number[])[] {
    return this.#computed;
  }

  /** Weights in force. */
  get weights(): readonly (readonly number[])[] {
    return this.#weights;
  }

  /** The merged model: recorded programs that use it stay valid until the method changes. */
  get model(): DecoderWeights {
    return this.#dense?.model ?? this.adapters.weights;
  }

  /**
   * Computes the method's weights anew and forgets changes by hand.
   * @throws AlloyError `out-of-memory` where there is no room for dense deltas; the merge is linear then
   */
  async setMethod(method: LiveMethod): Promise<void> {
    this.#dense?.dispose();
    this.#dense = undefined;
    this.#method = method;
    if (method.kind === 'linear') {
      const given = method.weights ?? this.adapters.matrices.map(() => 0);
      const equal = 1 / this.adapters.sources;
      this.#computed = this.stats.map(({ sources }) =>
        sources.map((_, s) => (method.weights ? (given[s] ?? 0) : equal)),
      );
    } else {
      const selected =
        method.tau < 1
          ? await matrixStats(this.#device, this.adapters, this.#matrices, method.tau)
          : this.stats;
      this.#computed = selected.map(({ sources, rows, columns }) => [
        ...coefficientsOf(
          sources.map((one) => one.selectedEnergy),
          rows * columns,
          method.variant,
        ),
      ]);
      this.#dense = await this.#makeDense(method);
    }
    this.#weights = this.#computed.map((row) => [...row]);
    this.#apply([...this.#weights.keys()]);
  }

  /** Moves single weights; what is generated next uses them. */
  setWeights(
    cells: readonly { readonly matrix: number; readonly source: number; readonly weight: number }[],
  ): void {
    for (const { matrix, source, weight } of cells) {
      const row = required(this.#weights[matrix], `matrix ${matrix}`);
      row[source] = weight;
    }
    this.#apply([...new Set(cells.map(({ matrix }) => matrix))]);
  }

  /** The merged delta of one matrix, f32 `[out, in]`; undefined where the merge is linear (it has no dense form). */
  async denseDelta(matrix: number): Promise<Float32Array<ArrayBuffer> | undefined> {
    const delta = this.#dense?.deltas[matrix];
    return delta && this.#device.downloadF32(delta);
  }

  /** L2 norm of the merged delta over all matrices. */
  async norm(): Promise<number> {
    let energy = 0;
    for (const [index, { sources, pairs }] of this.stats.entries()) {
      const dense = await this.denseDelta(index);
      const weight = (source: number) => this.#weights[index]?.[source] ?? 0;
      if (dense) for (const value of dense) energy += value * value;
      else {
        for (const [s, one] of sources.entries()) energy += weight(s) ** 2 * one.energy;
        for (const { first, second, dot } of pairs) energy += 2 * weight(first) * weight(second) * dot;
      }
    }
    return Math.sqrt(energy);
  }

  dispose(): void {
    this.#dense?.dispose();
    for (const { own } of this.#matrices) this.#device.destroyBuffer(own);
    this.adapters.dispose();
  }

  /** @throws AlloyError `out-of-memory`; the merge is linear then, which needs nothing more */
  async #makeDense(method: Extract<LiveMethod, { kind: 'sce' }>): Promise<Dense> {
    let dense: Dense | undefined;
    try {
      dense = this.#device.allOrNothing(
        () => new Dense(this.#device, this.#base, this.adapters.matrices, this.#matrices, method),
      );
      await this.#device.settled();
      return dense;
    } catch (error) {
      dense?.dispose();
      await this.setMethod({ kind: 'linear' });
      throw error;
    }
  }

  #apply(changed: readonly number[]): void {
    if (this.#dense) this.#dense.apply(changed, this.#weights);
    else this.adapters.setWeights((matrix, source) => this.#weights[matrix]?.[source] ?? 0);
  }
}

function buffersOf(device: Device, adapters: LiveAdapters, index: number): MatrixBuffers {
  const { a, b, rank } = adapters.factors(index);
  const home = (weight: Weight) => required(weight.chunks[0]?.data.home, weight.name);
  const own = device.createFrom(Float32Array.from(adapters.ownScales(index)), 'delta scales');
  return {
    source: { kind: 'factors', a: home(a), b: home(b), scales: own, rank },
    own,
    shape: { sources: adapters.sources, rows: b.rows, columns: a.cols },
  };
}

/** Energies, masses and conflicts of every matrix; `tau` selects by variance first. */
async function matrixStats(
  device: Device,
  adapters: LiveAdapters,
  matrices: readonly MatrixBuffers[],
  tau: number | undefined,
): Promise<MatrixStats[]> {
  const count = deltaStatsCount(adapters.sources);
  const stats = device.createBuffer(4 * count * matrices.length, 'delta statistics');
  const partials = device.createBuffer(
    Math.max(...matrices.map(({ shape }) => deltaStatsBytes(shape))),
    'partials',
  );
  const scratch = tau === undefined ? undefined : new SelectionScratch(device, matrices);
  for (const [index, { source, shape }] of matrices.entries()) {
    const select = tau === undefined ? [] : (scratch?.select(source, shape, tau) ?? []);
    device.run(
      [...select, ...deltaStats(source, { partials, stats }, shape, index * count, scratch?.selection)],
      'delta statistics',
    );
  }
  const values = await device.downloadF32(stats);
  for (const buffer of [stats, partials]) device.destroyBuffer(buffer);
  scratch?.dispose();
  return matrices.map(({ shape: { rows, columns } }, index) => {
    const { sources, pairs } = readDeltaStats(values, adapters.sources, index * count);
    const mass = sources.reduce((sum, one) => sum + one.mass, 0);
    const opposed = sources.reduce((sum, one) => sum + one.opposedMass, 0);
    const place = required(adapters.matrices[index], 'matrix');
    return { ...place, rows, columns, sources, pairs, conflict: mass > 0 ? opposed / mass : 0 };
  });
}

/** Buffers for selection by variance, large enough for every matrix and used by one after the other. */
class SelectionScratch {
  readonly selection: Selection<DeviceBuffer>;
  readonly #device: Device;
  readonly #histogram: DeviceBuffer;

  constructor(device: Device, matrices: readonly MatrixBuffers[]) {
    this.#device = device;
    const sizes = matrices.map(({ shape }) => selectTopBytes(shape));
    const most = (key: 'variance' | 'selection' | 'histogram') => Math.max(...sizes.map((size) => size[key]));
    this.selection = {
      variance: device.createBuffer(most('variance'), 'variance'),
      selection: device.createBuffer(most('selection'), 'selection'),
    };
    this.#histogram = device.createBuffer(most('histogram'), 'histogram');
  }

  select(
    source: DeltaSource<DeviceBuffer>,
    shape: MatrixBuffers['shape'],
    tau: number,
  ): Dispatch<DeviceBuffer>[] {
    return selectTop(source, { ...this.selection, histogram: this.#histogram }, shape, tau);
  }

  dispose(): void {
    for (const buffer of [this.selection.variance, this.selection.selection, this.#histogram]) {
      this.#device.destroyBuffer(buffer);
    }
  }
}

/** Dense merged deltas, one a matrix, each with a recorded program that makes it from the weights. */
class Dense {
  readonly deltas: readonly DeviceBuffer[];
  readonly model: DecoderWeights;
  readonly #device: Device;
  readonly #weights: readonly DeviceBuffer[];
  readonly #programs: readonly Program[];
  readonly #scratch: SelectionScratch | undefined;

  constructor(
    device: Device,
    base: DecoderWeights,
    places: readonly AdaptedMatrix[],
    matrices: readonly MatrixBuffers[],
    method: Extract<LiveMethod, { kind: 'sce' }>,
  ) {
    this.#device = device;
    this.deltas = matrices.map(({ shape }) =>
      device.createBuffer(4 * shape.rows * shape.columns, 'merged delta'),
    );
    this.#weights = matrices.map(({ shape }) => device.createBuffer(4 * shape.sources, 'merge weights'));
    const selects = method.variant !== 'fork' && method.tau < 1;
    this.#scratch = selects ? new SelectionScratch(device, matrices) : undefined;
    this.#programs = matrices.map(({ source, shape }, index) => {
      const buffers = {
        weights: required(this.#weights[index], 'weights'),
        delta: required(this.deltas[index], 'delta'),
      };
      const selection = this.#scratch?.selection;
      const merge = mergeDeltas(
        source,
        buffers,
        shape,
        { kind: 'sce', divide: method.variant !== 'paper' },
        selection ? { selection } : {},
      );
      return device.record([...(this.#scratch?.select(source, shape, method.tau) ?? []), merge], 'merge');
    });
    const byPlace = new Map(places.map(({ layer, matrix }, index) => [`${layer} ${matrix}`, index]));
    this.model = withMatrices(base, (layer, matrix, old) => {
      const index = byPlace.get(`${layer} ${matrix}`);
      return index === undefined
        ? old
        : { ...old, delta: this.#weight(index, required(matrices[index], 'matrix').shape) };
    });
  }

  apply(changed: readonly number[], weights: readonly (readonly number[])[]): void {
    for (const index of changed) {
      const values = Float32Array.from(required(weights[index], `matrix ${index}`));
      this.#device.upload(required(this.#weights[index], 'weights'), values);
      required(this.#programs[index], 'program').submit();
    }
  }

  dispose(): void {
    for (const program of this.#programs) program.dispose();
    for (const buffer of [...this.deltas, ...this.#weights]) this.#device.destroyBuffer(buffer);
    this.#scratch?.dispose();
  }

  #weight(index: number, { rows, columns: cols }: MatrixBuffers['shape']): Weight {
    const data = tensorIn(required(this.deltas[index], 'delta'), 'merged delta', [rows, cols]);
    return {
      name: 'merged delta',
      rows,
      cols,
      format: { kind: 'f32' },
      chunks: [{ rowStart: 0, rows, data, scales: undefined }],
    };
  }
}
