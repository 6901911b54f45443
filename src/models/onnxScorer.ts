import type { Tensor } from 'onnxruntime-web/webgpu';
import { type Device, isOnProcessor } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { Dispatch } from '../device/kernel.ts';
import { borrowedBuffer } from '../device/webgpu/sharedDevice.ts';
import { widenHalves } from '../kernels/halves.ts';
import { boundaryMass, rowStats } from '../kernels/rowStats.ts';
import { topK } from '../kernels/topK.ts';
import { AlloyError } from '../util/errors.ts';
import type { OnnxDecoder } from './onnxInputs.ts';
import type { RowScorer, RowScorerOptions } from './rowScorer.ts';
import { bucketLength, type ScoredRows } from './scorer.ts';

/** Logits of whole sequences, which the runtime keeps until they are disposed of. */
export interface OnnxLogits {
  readonly tensor: Tensor;
  readonly vocabulary: number;
}

/** What a scorer needs of the model that it belongs to. */
export interface OnnxRows {
  /** For errors. */
  readonly file: string;
  readonly decoder: OnnxDecoder;
  readonly vocabulary: number;
  /** @param tokens i32 [batch, length] */
  logits(tokens: Int32Array, batch: number): Promise<OnnxLogits>;
}

/** The runtime makes kernels anew for other shapes; where that takes long, sequences go one by one. */
const BATCH_TOKENS = { gpu: 2048, software: 1 };
/** What the logits of one run may take, at most. */
const LOGITS_BYTES = 512 * 2 ** 20;
/** Rows of a chunk are a multiple of this, so that every chunk begins where a binding may. */
const ROW_STEP = 128;

/** Rows from logits that onnxruntime-web works out: our kernels read them where they are. */
export class OnnxScorer implements RowScorer {
  readonly #device: Device;
  readonly #model: OnnxRows;
  readonly #kept: number;
  readonly #marks: DeviceBuffer | undefined;
  readonly #batchTokens: number;

  constructor(device: Device, model: OnnxRows, { topK: kept, marks, batchTokens }: RowScorerOptions) {
    this.#device = device;
    this.#model = model;
    this.#kept = Math.min(kept, model.vocabulary);
    this.#marks = marks && device.createFrom(marks, 'boundary marks');
    const most = batchTokens ?? BATCH_TOKENS[isOnProcessor(device.info) ? 'software' : 'gpu'];
    this.#batchTokens = Math.min(most, Math.floor(LOGITS_BYTES / (4 * model.vocabulary)));
  }

  batchFor(length: number): number {
    return Math.max(1, Math.floor(this.#batchTokens / bucketLength(length)));
  }

  async score(sequences: readonly ArrayLike<number>[]): Promise<ScoredRows[]> {
    const length = bucketLength(Math.max(...sequences.map((sequence) => sequence.length)));
    const batch = sequences.length;
    const tokens = new Int32Array(batch * length);
    const labels = new Int32Array(batch * length).fill(-100);
    sequences.forEach((sequence, index) => {
      for (let i = 0; i < sequence.length; i++) {
        const token = sequence[i] ?? 0;
        this.#checkToken(token);
        tokens[index * length + i] = token;
        if (i > 0) labels[index * length + i - 1] = token;
      }
    });
    const logits = await this.#model.logits(tokens, batch);
    try {
      return await this.#rows(logits, labels, sequences, length);
    } finally {
      logits.tensor.dispose();
    }
  }

  dispose(): void {
    if (this.#marks) this.#device.destroyBuffer(this.#marks);
  }

  #checkToken(token: number): void {
    if (token >= 0 && token < this.#model.vocabulary) return;
    throw new AlloyError(
      'bad-argument',
      `The token id ${token} is outside the vocabulary of ${this.#model.vocabulary} of ${this.#model.file}; use the tokenizer that belongs to the model.`,
    );
  }

  async #rows(
    logits: OnnxLogits,
    labels: Int32Array<ArrayBuffer>,
    sequences: readonly ArrayLike<number>[],
    length: number,
  ): Promise<ScoredRows[]> {
    const device = this.#device;
    const rows = labels.length;
    const kept = this.#kept;
    const made: DeviceBuffer[] = [];
    const make = (name: string, words: number): DeviceBuffer => {
      const buffer = device.createBuffer(words * 4, name);
      made.push(buffer);
      return buffer;
    };
    try {
      const out = {
        labels: make('labels', rows),
        ids: make('top ids', rows * kept),
        logProbs: make('top log-probabilities', rows * kept),
        stats: make('row statistics', rows * 3),
        best: make('most likely', rows),
        mass: make('boundary mass', rows),
      };
      device.upload(out.labels, labels);
      await this.#reduce(logits, rows, out, make);
      const [ids, logProbs, stats, mass] = await Promise.all([
        device.downloadU32(out.ids, rows * kept),
        device.downloadF32(out.logProbs, rows * kept),
        device.downloadF32(out.stats, rows * 3),
        device.downloadF32(out.mass, rows),
      ]);
      return sequences.map((sequence, index) => {
        const first = index * length;
        const end = first + sequence.length;
        const label = (_: unknown, row: number) => stats[3 * (first + row) + 2] ?? 0;
        return {
          topIds: ids.slice(first * kept, end * kept),
          topLogProbs: logProbs.slice(first * kept, end * kept),
          labelLogProb: Float32Array.from({ length: sequence.length }, label),
          boundaryMass: mass.slice(first, end),
        };
      });
    } finally {
      for (const buffer of made) device.destroyBuffer(buffer);
    }
  }

  /** Runs the row kernels over the logits, in chunks that fit a binding. */
  async #reduce(
    { tensor, vocabulary }: OnnxLogits,
    rows: number,
    out: Record<'labels' | 'ids' | 'logProbs' | 'stats' | 'best' | 'mass', DeviceBuffer>,
    make: (name: string, words: number) => DeviceBuffer,
  ): Promise<void> {
    const device = this.#device;
    const { halves } = this.#model.decoder;
    const rowBytes = vocabulary * (halves ? 2 : 4);
    const fitting = Math.floor(device.limits.bindingBytes / (4 * vocabulary * ROW_STEP)) * ROW_STEP;
    const most = Math.min(rows, Math.max(ROW_STEP, fitting));
    const onDevice = tensor.location === 'gpu-buffer';
    const place = onDevice
      ? borrowedBuffer(tensor.gpuBuffer, rows * rowBytes, 'logits')
      : make('logits', Math.ceil((most * rowBytes) / 4));
    const host = onDevice ? undefined : ((await tensor.getData()) as Float32Array<ArrayBuffer>);
    const wide = halves ? make('logits as f32', most * vocabulary) : undefined;
    for (let rowStart = 0; rowStart < rows; rowStart += most) {
      const chunkRows = Math.min(most, rows - rowStart);
      const bytes = Math.ceil((chunkRows * rowBytes) / 4) * 4;
      if (host) device.upload(place, chunkOf(host, rowStart * rowBytes, chunkRows * rowBytes));
      const chunkLogits = host ? place : place.slice(rowStart * rowBytes, bytes);
      const dispatches: Dispatch<DeviceBuffer>[] = [];
      if (wide) dispatches.push(widenHalves({ x: chunkLogits, y: wide }, chunkRows * vocabulary));
      const read = wide ?? chunkLogits;
      const chunk = { rowStart, chunkRows, vocabulary };
      dispatches.push(rowStats({ ...pick(out, 'labels', 'stats', 'best'), logits: read }, chunk));
      dispatches.push(topK({ ...pick(out, 'ids', 'logProbs'), logits: read }, chunk, this.#kept));
      if (this.#marks)
        dispatches.push(boundaryMass({ logits: read, marks: this.#marks, mass: out.mass }, chunk));
      device.run(dispatches, 'rows of logits');
    }
  }
}

function pick<K extends string>(
  buffers: Readonly<Record<string, DeviceBuffer>>,
  ...keys: readonly K[]
): Record<K, DeviceBuffer> {
  return Object.fromEntries(keys.map((key) => [key, buffers[key]])) as Record<K, DeviceBuffer>;
}

/** A range of bytes in whole words, as the queue takes them. */
function chunkOf(
  values: ArrayBufferView<ArrayBufferLike>,
  offset: number,
  bytes: number,
): Uint8Array<ArrayBuffer> {
  const chunk = new Uint8Array(Math.ceil(bytes / 4) * 4);
  chunk.set(new Uint8Array(values.buffer, values.byteOffset + offset, bytes));
  return chunk;
}
