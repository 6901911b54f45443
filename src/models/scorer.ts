import { type Device, isOnProcessor } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { Graph, tensorIn } from '../graph/graph.ts';
import { logitRows } from '../graph/ops/headLoss.ts';
import { multiply } from '../graph/ops/linear.ts';
import { type Planned, plan, SlotPool } from '../graph/plan.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softCap } from '../kernels/elementwise.ts';
import { boundaryMass, rowStats } from '../kernels/rowStats.ts';
import { topK } from '../kernels/topK.ts';
import { AlloyError, required } from '../util/errors.ts';
import type { DecoderConfig } from './config.ts';
import { type DecoderWeights, decoderHidden } from './decoder.ts';
import { RotaryTables } from './rotaryTables.ts';

/** Teacher-forced rows of one sequence of N tokens; row i is the distribution of token i + 1. */
export interface ScoredRows {
  /** u32 `[N, K]`, most likely first. */
  readonly topIds: Uint32Array<ArrayBuffer>;
  /** f32 `[N, K]`: natural log-probabilities over the whole vocabulary. */
  readonly topLogProbs: Float32Array<ArrayBuffer>;
  /** f32 `[N]`: log p(token i + 1); 0 in the last row. */
  readonly labelLogProb: Float32Array<ArrayBuffer>;
  /** f32 `[N]`: probability of the marked tokens (β); 0 without marks. */
  readonly boundaryMass: Float32Array<ArrayBuffer>;
}

/** Runs whole sequences in batches and keeps sparse rows. Programs are made once per length bucket. */
export class Scorer {
  readonly #device: Device;
  readonly #config: DecoderConfig;
  readonly #weights: DecoderWeights;
  readonly #kept: number;
  readonly #batchTokens: number;
  readonly #marks: DeviceBuffer | undefined;
  readonly #pool: SlotPool;
  readonly #buckets = new Map<number, Bucket>();

  /**
   * @param options.topK K, 1 to 64
   * @param options.marks bit set of the tokens whose probability is summed up, see `markIds`
   * @param options.batchTokens rows that go through at once (at least one sequence does); by default what the adapter likes
   */
  constructor(
    device: Device,
    config: DecoderConfig,
    weights: DecoderWeights,
    options: {
      readonly topK: number;
      readonly marks?: Uint32Array<ArrayBuffer>;
      readonly batchTokens?: number;
    },
  ) {
    this.#device = device;
    this.#config = config;
    this.#weights = weights;
    this.#kept = Math.min(options.topK, config.vocabSize);
    this.#batchTokens = options.batchTokens ?? (isOnProcessor(device.info) ? 512 : 4096);
    this.#marks = options.marks && device.createFrom(options.marks, 'boundary marks');
    this.#pool = new SlotPool(device);
  }

  /** How many sequences of this length go through at once. */
  batchFor(length: number): number {
    return Math.max(1, Math.floor(this.#batchTokens / bucketLength(length)));
  }

  /** Scores up to `batchFor(longest)` sequences of at least one token. */
  async score(sequences: readonly ArrayLike<number>[]): Promise<ScoredRows[]> {
    const longest = Math.max(...sequences.map((sequence) => sequence.length));
    const batch = this.batchFor(longest);
    if (sequences.length > batch)
      throw new AlloyError('internal', `${sequences.length} sequences, at most ${batch}`);
    const length = bucketLength(longest);
    const bucket = await this.prepare(longest);
    const tokens = new Uint32Array(batch * length);
    const labels = new Int32Array(batch * length).fill(-100);
    sequences.forEach((sequence, index) => {
      for (let i = 0; i < sequence.length; i++) {
        const token = sequence[i] ?? 0;
        if (!(token >= 0 && token < this.#config.vocabSize)) {
          throw new AlloyError(
            'bad-argument',
            `The token id ${token} is outside the model's vocabulary of ${this.#config.vocabSize}; use the tokenizer that belongs to the weights.`,
          );
        }
        tokens[index * length + i] = token;
        if (i > 0) labels[index * length + i - 1] = token;
      }
    });
    bucket.rotary.setLength(longest);
    this.#device.upload(bucket.tokens, tokens);
    this.#device.upload(bucket.labels, labels);
    bucket.planned.program.submit();
    return this.#read(bucket, length, sequences);
  }

  /**
   * Makes what sequences up to this length need, unless it is there.
   * @throws AlloyError `out-of-memory`; sequences of other lengths can still be scored
   */
  async prepare(longest: number): Promise<Bucket> {
    const length = bucketLength(longest);
    const known = this.#buckets.get(length);
    if (known) return known;
    const made = this.#device.allOrNothing(() => this.#makeBucket(length, this.batchFor(length)));
    try {
      await this.#device.settled();
    } catch (error) {
      this.#drop(made);
      throw error;
    }
    this.#buckets.set(length, made);
    return made;
  }

  dispose(): void {
    for (const bucket of this.#buckets.values()) this.#drop(bucket);
    this.#pool.dispose();
    if (this.#marks) this.#device.destroyBuffer(this.#marks);
  }

  #drop({ planned, owned, rotary }: Bucket): void {
    planned.program.dispose();
    rotary.dispose();
    for (const buffer of owned) this.#device.destroyBuffer(buffer);
  }

  async #read(
    bucket: Bucket,
    length: number,
    sequences: readonly ArrayLike<number>[],
  ): Promise<ScoredRows[]> {
    const kept = this.#kept;
    const rows = sequences.length * length;
    const [ids, logProbs, stats, mass] = await Promise.all([
      this.#device.downloadU32(bucket.ids, rows * kept),
      this.#device.downloadF32(bucket.logProbs, rows * kept),
      this.#device.downloadF32(bucket.stats, rows * 3),
      this.#device.downloadF32(bucket.mass, rows),
    ]);
    return sequences.map((sequence, index) => {
      const first = index * length;
      const end = first + sequence.length;
      return {
        topIds: ids.slice(first * kept, end * kept),
        topLogProbs: logProbs.slice(first * kept, end * kept),
        labelLogProb: Float32Array.from(
          { length: sequence.length },
          (_, row) => stats[3 * (first + row) + 2] ?? 0,
        ),
        boundaryMass: mass.slice(first, end),
      };
    });
  }

  #makeBucket(length: number, batch: number): Bucket {
    const rows = batch * length;
    const owned: DeviceBuffer[] = [];
    const own = (name: string, words: number): Tensor => {
      const buffer = this.#device.createBuffer(words * 4, name);
      owned.push(buffer);
      return tensorIn(buffer, name, [words]);
    };
    const rotary = new RotaryTables(this.#device, this.#config, length);
    const [tokens, labels] = [own('tokens', rows), own('labels', rows)];
    const outputs = {
      ids: own('top ids', rows * this.#kept),
      logProbs: own('top log-probabilities', rows * this.#kept),
      stats: own('row statistics', rows * 3),
      best: own('most likely', rows),
      mass: own('boundary mass', rows),
    };
    const graph = new Graph(this.#device.info.tuning, {
      bindingBytes: this.#device.limits.bindingBytes,
    });
    const hidden = decoderHidden(graph, this.#config, this.#weights, {
      tokens,
      batch,
      length,
      rotary: rotary.tables,
    });
    this.#traceRows(graph, hidden, labels, outputs);
    const planned = plan(this.#device, graph.dispatches, {
      label: `score ${batch} x ${length}`,
      pool: this.#pool,
    });
    const at = (tensor: Tensor) => required(tensor.home, tensor.name);
    const bucket = {
      planned,
      rotary,
      owned,
      tokens: at(tokens),
      labels: at(labels),
      ids: at(outputs.ids),
      logProbs: at(outputs.logProbs),
      stats: at(outputs.stats),
      mass: at(outputs.mass),
    };
    return bucket;
  }

  #traceRows(
    graph: Graph,
    hidden: Tensor,
    labels: Tensor,
    { ids, logProbs, stats, best, mass }: Record<'ids' | 'logProbs' | 'stats' | 'best' | 'mass', Tensor>,
  ): void {
    const vocabulary = this.#config.vocabSize;
    const rows = hidden.bytes / 4 / this.#config.width;
    const most = logitRows(rows, vocabulary, graph.bindingBytes);
    const marks = this.#marks && tensorIn(this.#marks, 'boundary marks', [this.#marks.bytes / 4]);
    for (let rowStart = 0; rowStart < rows; rowStart += most) {
      const chunkRows = Math.min(most, rows - rowStart);
      const logits = graph.tensor('logits', [chunkRows, vocabulary]);
      multiply(graph, hidden, this.#weights.head, logits, { rows: { start: rowStart, count: chunkRows } });
      if (this.#config.logitCap > 0)
        graph.emit(softCap({ y: logits }, logits.bytes / 4, this.#config.logitCap));
      const chunk = { rowStart, chunkRows, vocabulary };
      graph.emit(rowStats({ logits, labels, stats, best }, chunk));
      graph.emit(topK({ logits, ids, logProbs }, chunk, this.#kept));
      if (marks) graph.emit(boundaryMass({ logits, marks, mass }, chunk));
    }
  }
}

interface Bucket {
  readonly planned: Planned;
  readonly rotary: RotaryTables;
  readonly owned: readonly DeviceBuffer[];
  readonly tokens: DeviceBuffer;
  readonly labels: DeviceBuffer;
  readonly ids: DeviceBuffer;
  readonly logProbs: DeviceBuffer;
  readonly stats: DeviceBuffer;
  readonly mass: DeviceBuffer;
}

/** Lengths are rounded up, by at most a quarter or 32 tokens, so that few programs are made. */
export function bucketLength(length: number): number {
  const step = Math.max(32, 2 ** (Math.floor(Math.log2(Math.max(1, length))) - 2));
  return Math.ceil(Math.max(1, length) / step) * step;
}
