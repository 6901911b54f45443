import { type Device, isOnProcessor, type Readback } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { MemoryKind } from '../device/memoryLedger.ts';
import { fuseRows } from '../graph/fuseRows.ts';
import { Graph, tensorIn } from '../graph/graph.ts';
import type { KvCache } from '../graph/ops/cachedAttention.ts';
import { multiply } from '../graph/ops/linear.ts';
import { type Planned, plan, SlotPool } from '../graph/plan.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softCap } from '../kernels/elementwise.ts';
import { embeddingForward } from '../kernels/embedding.ts';
import { PROMPT_ROWS } from '../kernels/matmulStrategy.ts';
import { MOST_ROWS } from '../kernels/rowProducts.ts';
import { SETTINGS_WORDS, sampleNext, settingsWords } from '../kernels/sampleNext.ts';
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

/** Words of each third of the row that is read back: ids, log-probabilities, then the token that was chosen. */
const ROW_WORDS = Math.max(64, MAX_TOP_K);
/** Stands for a token where a row has none. */
const NO_TOKEN = 0xffff_ffff;
/**
 * Steps that a GPU may be ahead of the host: it need not wait for a token to be read, and what it has computed past a stop
 * token is thrown away. A software adapter gains nothing by it.
 */
const AHEAD = { software: 0, gpu: 2 };

export type StopReason = 'end' | 'length' | 'interrupted';

/**
 * One sequence with a key-value cache: reads tokens, gives the next row, writes tokens. A step of writing is one submit: the
 * device chooses the token, embeds it in the next step and moves the position on; the host reads it when it gets there.
 */
export class Generator {
  readonly capacity: number;
  readonly #device: Device;
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
  readonly #next: Tensor;
  readonly #settings: Tensor;
  readonly #ahead: number;
  readonly #readback: Readback;
  /** From the one of most rows to that of one. */
  readonly #passes: readonly Pass[];
  #read: number[] = [];

  /**
   * @param options.capacity positions of the cache: prompt and answer together
   * @param options.ahead steps that the device may be ahead of the host; by default what suits the adapter
   */
  constructor(
    device: Device,
    config: DecoderConfig,
    weights: DecoderWeights,
    options: { readonly capacity: number; readonly ahead?: number },
  ) {
    this.#device = device;
    this.#config = config;
    this.#weights = weights;
    this.capacity = options.capacity;
    this.#kept = Math.min(MAX_TOP_K, config.vocabSize);
    this.#pool = new SlotPool(device);
    this.#rotary = new RotaryTables(device, config, options.capacity);
    const size = options.capacity * config.kvHeads * config.headDim;
    this.#caches = config.layers.map((_, layer) => ({
      k: this.#own(`keys ${layer}`, size, 'cache'),
      v: this.#own(`values ${layer}`, size, 'cache'),
      capacity: options.capacity,
    }));
    this.#state = this.#own('state', 4);
    this.#lastRow = this.#own('last row', 1);
    this.#row = this.#own('next row', 3 * ROW_WORDS);
    this.#next = this.#own('next token', 1);
    this.#settings = this.#own('sampling settings', SETTINGS_WORDS);
    this.#ahead = options.ahead ?? AHEAD[isOnProcessor(device.info) ? 'software' : 'gpu'];
    this.#readback = device.readback(required(this.#row.home, 'row'), this.#ahead + 2);
    const rows = new Set(
      [...PROMPT_ROWS[device.info.tuning], 1].map((most) => Math.min(most, options.capacity)),
    );
    this.#passes = [...rows].map((count) => this.#makePass(count));
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
    return nextRow(await this.#prompt(tokens), this.#kept);
  }

  /** Reads at least one token more. @throws AlloyError `bad-argument` when the cache is full. */
  async feed(tokens: readonly number[]): Promise<NextRow> {
    return nextRow(await this.#feed(tokens), this.#kept);
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
    this.#device.upload(required(this.#settings.home, 'settings'), settingsWords(sampling));
    const limit = Math.min(sampling.maxNewTokens, this.capacity - prompt.length);
    let token = chosenToken(await this.#prompt(prompt));
    const rows: Promise<ArrayBuffer>[] = [];
    const submit = (row: Promise<ArrayBuffer>) => {
      // Whoever awaits it hears of a failure; until then it is nobody's.
      row.catch(() => undefined);
      rows.push(row);
    };
    let refill = false;
    try {
      for (let count = 1; count <= limit; count++) {
        if (signal?.aborted) return 'interrupted';
        if (stopTokens.includes(token.id)) return 'end';
        if (count === limit) {
          yield token;
          break;
        }
        // The cache holds so much after the next step; past the last token there is none.
        while (!refill && rows.length <= this.#ahead && count + rows.length < limit) {
          refill = this.#rotary.grow(prompt.length + count + rows.length);
          if (!refill) submit(this.#submitStep());
        }
        if (rows.length > 0) this.#read.push(token.id);
        else {
          refill = false;
          submit(this.#refill(token.id));
        }
        yield token;
        token = chosenToken(await required(rows[0], 'step'));
        rows.shift();
      }
      return 'length';
    } finally {
      await Promise.allSettled(rows);
    }
  }

  dispose(): void {
    for (const { planned } of this.#passes) planned.program.dispose();
    this.#readback.dispose();
    this.#rotary.dispose();
    this.#pool.dispose();
    for (const buffer of this.#owned) this.#device.destroyBuffer(buffer);
  }

  #prompt(tokens: readonly number[]): Promise<ArrayBuffer> {
    const stale = this.#rotary.setLength(tokens.length);
    let shared = 0;
    while (!stale && shared < tokens.length - 1 && tokens[shared] === this.#read[shared]) shared++;
    this.rewind(shared);
    return this.#feed(tokens.slice(shared));
  }

  async #feed(tokens: readonly number[]): Promise<ArrayBuffer> {
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
    if (!this.#rotary.grow(this.#read.length + tokens.length)) return this.#submitTokens(tokens);
    const all = [...this.#read, ...tokens];
    this.rewind(0);
    return this.#submitTokens(all);
  }

  /** Reads tokens that the cache lacks. @returns the row after the last one, as it will be read */
  #submitTokens(tokens: readonly number[]): Promise<ArrayBuffer> {
    for (let from = 0; ; ) {
      const left = tokens.length - from;
      const pass = required(this.#passes.findLast(({ rows }) => rows >= left) ?? this.#passes[0], 'pass');
      const part = tokens.slice(from, from + pass.rows);
      const padded = new Uint32Array(pass.rows);
      padded.set(part);
      this.#device.upload(required(pass.tokens.home, 'tokens'), padded);
      this.#device.upload(
        required(this.#state.home, 'state'),
        Uint32Array.of(this.#read.length, part.length),
      );
      this.#device.upload(required(this.#lastRow.home, 'last row'), Uint32Array.of(part.length - 1));
      this.#read.push(...part);
      from += part.length;
      if (from >= tokens.length) return this.#readback.read(pass.planned.program);
      pass.planned.program.submit();
    }
  }

  /** Reads the token that the device has chosen last, at the position that it keeps. */
  #submitStep(): Promise<ArrayBuffer> {
    return this.#readback.read(required(this.#passes.at(-1), 'pass').planned.program);
  }

  /** Fills the cache anew, after the angles of its positions have changed, with the token that was chosen last. */
  #refill(token: number): Promise<ArrayBuffer> {
    const all = [...this.#read, token];
    this.rewind(0);
    return this.#submitTokens(all);
  }

  #makePass(rows: number): Pass {
    const { vocabSize, logitCap } = this.#config;
    const tokens = rows === 1 ? this.#next : this.#own(`tokens ${rows}`, rows);
    const graph = new Graph(this.#device.info.tuning);
    const hidden = decoderHidden(graph, this.#config, this.#weights, {
      tokens,
      batch: 1,
      length: rows,
      rotary: this.#rotary.tables,
      cache: { layers: this.#caches, state: this.#state },
    });
    const logits = graph.tensor('logits', [1, vocabSize]);
    multiply(graph, this.#lastOf(graph, hidden, rows), this.#weights.head, logits);
    if (logitCap > 0) graph.emit(softCap({ y: logits }, vocabSize, logitCap));
    const [ids, logProbs, chosen] = ['ids', 'log-probabilities', 'chosen'].map((name, third) => {
      const part = required(this.#row.home, 'row').slice(4 * ROW_WORDS * third, 4 * ROW_WORDS);
      return tensorIn(part, name, [ROW_WORDS]);
    }) as [Tensor, Tensor, Tensor];
    graph.emit(
      topK({ logits, ids, logProbs }, { rowStart: 0, chunkRows: 1, vocabulary: vocabSize }, this.#kept),
    );
    const [settings, state] = [this.#settings, this.#state];
    graph.emit(sampleNext({ ids, logProbs, settings, state, tokens: this.#next, chosen }, this.#kept));
    const { tuning } = graph;
    const { storageBuffers } = this.#device.limits;
    const dispatches =
      rows <= MOST_ROWS ? fuseRows(graph.dispatches, { tuning, storageBuffers }) : graph.dispatches;
    const planned = plan(this.#device, dispatches, { label: `generate ${rows}`, pool: this.#pool });
    return { rows, tokens, planned };
  }

  /** The row of the last valid token, `[1, D]`. */
  #lastOf(graph: Graph, hidden: Tensor, rows: number): Tensor {
    if (rows === 1) return hidden;
    const { width } = this.#config;
    const last = graph.tensor('last hidden', [1, width]);
    const gather = { rows: 1, width, rowStart: 0, rowCount: rows, scale: 1 };
    graph.emit(embeddingForward({ tokens: this.#lastRow, w: hidden, y: last }, gather, { kind: 'f32' }));
    return last;
  }

  #own(name: string, words: number, kind: MemoryKind = 'scratch'): Tensor {
    const buffer = this.#device.createBuffer(words * 4, name, kind);
    this.#owned.push(buffer);
    return tensorIn(buffer, name, [words]);
  }
}

function nextRow(row: ArrayBuffer, kept: number): NextRow {
  return { ids: new Uint32Array(row, 0, kept), logProbs: new Float32Array(row, 4 * ROW_WORDS, kept) };
}

/** @throws AlloyError `bad-argument` where no logit of the row is a number */
function chosenToken(row: ArrayBuffer): GeneratedToken {
  const [id = NO_TOKEN] = new Uint32Array(row, 8 * ROW_WORDS, 1);
  if (id === NO_TOKEN)
    throw new AlloyError('bad-argument', 'The row has no finite logit; the model cannot continue.');
  return { id, logProb: new Float32Array(row, 8 * ROW_WORDS + 4, 1)[0] ?? Number.NaN };
}

interface Pass {
  readonly rows: number;
  readonly tokens: Tensor;
  readonly planned: Planned;
}
