import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import type { Gpu, Readback } from '../gpu/gpu.ts';
import { Graph, tensorIn } from '../graph/graph.ts';
import type { KvCache } from '../graph/ops/cachedAttention.ts';
import { multiply } from '../graph/ops/linear.ts';
import { type Planned, plan, SlotPool } from '../graph/plan.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softCap } from '../kernels/elementwise.ts';
import { embeddingForward } from '../kernels/embedding.ts';
import { sampleToken } from '../kernels/sampling.ts';
import { MAX_TOP_K, topK } from '../kernels/topK.ts';
import { AlloyError, required } from '../util/errors.ts';
import type { DecoderConfig } from './config.ts';
import { type DecoderWeights, decoderHidden } from './decoder.ts';
import { RotaryTables } from './rotaryTables.ts';

export interface SamplingOptions {
  /** 0 = greedy. */
  readonly temperature: number;
  /** 0 = no limit below the 64 candidates that are read back. */
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxNewTokens: number;
}

export const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0 } as const;

/** The most likely next tokens, most likely first, with log-probabilities over the whole vocabulary. */
export interface NextRow {
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly logProbs: Float32Array<ArrayBuffer>;
}

export interface GeneratedToken {
  readonly id: number;
  readonly logProb: number;
}

/** Words of each half of the row that is read back: ids, then log-probabilities. */
const ROW_WORDS = Math.max(64, MAX_TOP_K);

export type StopReason = 'end' | 'length' | 'interrupted';

/** One sequence with a key-value cache: reads tokens, gives the next row, writes tokens. */
export class Generator {
  readonly capacity: number;
  readonly #gpu: Gpu;
  readonly #config: DecoderConfig;
  readonly #weights: DecoderWeights;
  readonly #kept: number;
  readonly #pool: SlotPool;
  readonly #rotary: RotaryTables;
  readonly #owned: DeviceBuffer[] = [];
  readonly #caches: readonly KvCache[];
  readonly #state: Tensor;
  readonly #lastRow: Tensor;
  readonly #row: Tensor;
  readonly #readback: Readback;
  readonly #passes: readonly Pass[];
  #read: number[] = [];

  /** @param options.capacity positions of the cache: prompt and answer together */
  constructor(
    gpu: Gpu,
    config: DecoderConfig,
    weights: DecoderWeights,
    options: { readonly capacity: number },
  ) {
    this.#gpu = gpu;
    this.#config = config;
    this.#weights = weights;
    this.capacity = options.capacity;
    this.#kept = Math.min(MAX_TOP_K, config.vocabSize);
    this.#pool = new SlotPool(gpu);
    this.#rotary = new RotaryTables(gpu, config, options.capacity);
    const size = options.capacity * config.kvHeads * config.headDim;
    this.#caches = config.layers.map((_, layer) => ({
      k: this.#own(`keys ${layer}`, size),
      v: this.#own(`values ${layer}`, size),
      capacity: options.capacity,
    }));
    this.#state = this.#own('state', 4);
    this.#lastRow = this.#own('last row', 1);
    this.#row = this.#own('next row', 2 * ROW_WORDS);
    this.#readback = gpu.readback(required(this.#row.home, 'row'), 2);
    const prefill = Math.min(options.capacity, gpu.info.software ? 32 : 128);
    this.#passes = (prefill > 1 ? [prefill, 1] : [1]).map((rows) => this.#makePass(rows));
  }

  /** Tokens that the cache holds. */
  get tokens(): readonly number[] {
    return this.#read;
  }

  /** Forgets all tokens from `length` on. */
  rewind(length: number): void {
    this.#read = this.#read.slice(0, length);
  }

  /** Forgets what differs from `tokens`; reads what is missing. @returns the row after the last token */
  async prompt(tokens: readonly number[]): Promise<NextRow> {
    const stale = this.#rotary.setLength(tokens.length);
    let shared = 0;
    while (!stale && shared < tokens.length - 1 && tokens[shared] === this.#read[shared]) shared++;
    this.rewind(shared);
    return this.feed(tokens.slice(shared));
  }

  /** Reads at least one token more. @throws AlloyError `bad-argument` when the cache is full. */
  async feed(tokens: readonly number[]): Promise<NextRow> {
    if (tokens.length === 0) throw new AlloyError('internal', 'nothing to read');
    if (this.#read.length + tokens.length > this.capacity) {
      throw new AlloyError(
        'bad-argument',
        `The conversation has ${this.#read.length + tokens.length} tokens but there is room for ${this.capacity}; shorten it or start a new one.`,
      );
    }
    const wrong = tokens.find((token) => !(token >= 0 && token < this.#config.vocabSize));
    if (wrong !== undefined) {
      throw new AlloyError(
        'bad-argument',
        `The token id ${wrong} is outside the model's vocabulary of ${this.#config.vocabSize}.`,
      );
    }
    const again = this.#rotary.grow(this.#read.length + tokens.length);
    const unread = again ? [...this.#read, ...tokens] : tokens;
    if (again) this.rewind(0);
    for (let from = 0; from < unread.length; ) {
      const pass = required(unread.length - from > 1 ? this.#passes[0] : this.#passes.at(-1), 'pass');
      const part = unread.slice(from, from + pass.rows);
      this.#submit(pass, part);
      this.#read.push(...part);
      from += part.length;
    }
    const row = await this.#readback.read();
    return {
      ids: new Uint32Array(row, 0, this.#kept),
      logProbs: new Float32Array(row, 4 * ROW_WORDS, this.#kept),
    };
  }

  /**
   * Continues after `prompt` until a stop token, the limit or the signal. Stop tokens are not yielded.
   * @returns why it stopped
   */
  async *generate(
    prompt: readonly number[],
    sampling: SamplingOptions,
    stopTokens: readonly number[],
    signal?: AbortSignal,
  ): AsyncGenerator<GeneratedToken, StopReason> {
    let row = await this.prompt(prompt);
    const limit = Math.min(sampling.maxNewTokens, this.capacity - prompt.length);
    for (let count = 0; count < limit; count++) {
      if (signal?.aborted) return 'interrupted';
      const id = sampleToken(row.ids, row.logProbs, { ...sampling, counter: this.#read.length });
      if (stopTokens.includes(id)) return 'end';
      yield { id, logProb: row.logProbs[row.ids.indexOf(id)] ?? Number.NaN };
      if (count + 1 < limit) row = await this.feed([id]);
    }
    return 'length';
  }

  dispose(): void {
    for (const { planned } of this.#passes) planned.program.dispose();
    this.#readback.dispose();
    this.#rotary.dispose();
    this.#pool.dispose();
    for (const buffer of this.#owned) this.#gpu.destroyBuffer(buffer);
  }

  #submit(pass: Pass, tokens: readonly number[]): void {
    const padded = new Uint32Array(pass.rows);
    padded.set(tokens);
    this.#gpu.upload(required(pass.tokens.home, 'tokens'), padded);
    this.#gpu.upload(required(this.#state.home, 'state'), Uint32Array.of(this.#read.length, tokens.length));
    this.#gpu.upload(required(this.#lastRow.home, 'last row'), Uint32Array.of(tokens.length - 1));
    pass.planned.program.submit();
  }

  #makePass(rows: number): Pass {
    const { width, vocabSize, logitCap } = this.#config;
    const tokens = this.#own(`tokens ${rows}`, rows);
    const graph = new Graph(this.#gpu.info.software ? 'software' : 'gpu');
    const hidden = decoderHidden(graph, this.#config, this.#weights, {
      tokens,
      batch: 1,
      length: rows,
      rotary: this.#rotary.tables,
      cache: { layers: this.#caches, state: this.#state },
    });
    const last = graph.tensor('last hidden', [1, width]);
    const gather = { rows: 1, width, rowStart: 0, rowCount: rows, scale: 1 };
    graph.emit(embeddingForward({ tokens: this.#lastRow, w: hidden, y: last }, gather, { kind: 'f32' }));
    const logits = graph.tensor('logits', [1, vocabSize]);
    multiply(graph, last, this.#weights.head, logits);
    if (logitCap > 0) graph.emit(softCap({ y: logits }, vocabSize, logitCap));
    const [ids, logProbs] = this.#rowHalves();
    graph.emit(
      topK({ logits, ids, logProbs }, { rowStart: 0, chunkRows: 1, vocabulary: vocabSize }, this.#kept),
    );
    const planned = plan(this.#gpu, graph.dispatches, { label: `generate ${rows}`, pool: this.#pool });
    return { rows, tokens, planned };
  }

  #rowHalves(): [ids: Tensor, logProbs: Tensor] {
    const row = required(this.#row.home, 'row');
    const half = (index: number) => row.slice(4 * ROW_WORDS * index, 4 * ROW_WORDS);
    return [tensorIn(half(0), 'ids', [ROW_WORDS]), tensorIn(half(1), 'log-probabilities', [ROW_WORDS])];
  }

  #own(name: string, words: number): Tensor {
    const buffer = this.#gpu.createBuffer(words * 4, name);
    this.#owned.push(buffer);
    return tensorIn(buffer, name, [words]);
  }
}

interface Pass {
  readonly rows: number;
  readonly tokens: Tensor;
  readonly planned: Planned;
}
