/**
 * Trains the trainable tensors of a decoder. Everything is planned and recorded once; a step is a few uploads and the
 * replay of three programs: clear the gradients, add those of each micro-batch, clip and update.
 */

import type { Device, Readback } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { Graph, tensorIn } from '../graph/graph.ts';
import { headLoss, type LossBuffers } from '../graph/ops/headLoss.ts';
import { type Planned, plan, SlotPool } from '../graph/plan.ts';
import type { Recomputation } from '../graph/recompute.ts';
import { isTrainable, type Tensor } from '../graph/tensor.ts';
import { adamw, adamwHyper } from '../kernels/adamw.ts';
import { adamw8bit, adamw8bitHyper, momentCodeTable } from '../kernels/adamw8bit.ts';
import { fill } from '../kernels/elementwise.ts';
import { tokenSegments, tokenSegmentWords } from '../kernels/embedding.ts';
import { clipScale, gradientNormBytes } from '../kernels/gradientNorm.ts';
import type { TeacherMode } from '../kernels/headLoss.ts';
import { advance, guardStep, RING_ENTRY, recordLoss, recordNorm } from '../kernels/lossRing.ts';
import type { DecoderConfig } from '../models/config.ts';
import { type DecoderWeights, decoderHidden } from '../models/decoder.ts';
import type { Parameters } from '../models/parameters.ts';
import { RotaryTables } from '../models/rotaryTables.ts';
import { AlloyError } from '../util/errors.ts';

export interface TrainerOptions {
  readonly config: DecoderConfig;
  /** Weights whose trainable parts belong to `parameters`. */
  readonly weights: DecoderWeights;
  readonly parameters: Parameters;
  /** Sequences in a micro-batch. */
  readonly batch: number;
  /** Lengths in tokens that micro-batches come in; one program each. */
  readonly lengths: readonly number[];
  /** Sparse teacher rows: their meaning and K; absent for supervised training. */
  readonly teacher?: { readonly mode: TeacherMode; readonly kept: number };
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global norm of the gradient; 0 = no clipping. */
  readonly clip: number;
  /** What is worked out again instead of kept; the numbers are the same. Off unless told. */
  readonly recompute?: Recomputation;
}

/** Rows are `[B·T]`, padded on the right; `labels[r]` is what row r should predict, −100 for nothing. */
export interface MicroBatch {
  /** T, one of the trainer's lengths. */
  readonly length: number;
  readonly tokens: Uint32Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
  /** f32 `[B·T, 2]`: weights of the supervised and the distillation term, divisors inside (methods C.2). */
  readonly weights: Float32Array<ArrayBuffer>;
  readonly teacher?: {
    /** `[B·T, K]` */
    readonly ids: Uint32Array<ArrayBuffer>;
    readonly probs: Float32Array<ArrayBuffer>;
    /** `[B·T]` */
    readonly counts: Uint32Array<ArrayBuffer>;
  };
}

/** What one step leaves in the ring. */
export interface StepLoss {
  /** Weighted sums of both terms over the step's rows, nats. */
  readonly supervised: number;
  readonly distillation: number;
  /**
   * Global norm of the gradient before clipping, and the factor it was scaled by. 0: losses or gradient of this step or
   * of one before it were not finite, and the parameters are those of the last good step.
   */
  readonly gradientNorm: number;
  readonly gradientScale: number;
}

/** Steps whose losses the ring holds before they must be read. */
export const RING_LENGTH = 64;
const RING = { slot: 0, length: RING_LENGTH };
/** The word of the state that remembers a step whose numbers were not finite. */
const FAULT_SLOT = 1;

export class Trainer {
  readonly losses: Tensor;
  readonly slotBytes: number;
  #device: Device;
  #options: TrainerOptions;
  #owned: DeviceBuffer[] = [];
  #rotary: RotaryTables;
  #pool: SlotPool;
  #inputs: {
    tokens: Tensor;
    labels: Tensor;
    weights: Tensor;
    segments: Tensor | undefined;
    teacher: { ids: Tensor; probs: Tensor; counts: Tensor } | undefined;
  };
  #hyper: Tensor;
  /** What the codes of 8-bit moments stand for. */
  #codes: Tensor | undefined;
  #gradScale: Tensor;
  #ring: Readback;
  #clear: Planned;
  readonly #micro = new Map<number, Planned>();
  #apply: Planned;
  #steps = 0;
  #read = 0;

  constructor(device: Device, options: TrainerOptions) {
    this.#device = device;
    this.#options = options;
    this.#pool = new SlotPool(device);
    const longest = Math.max(...options.lengths);
    this.#rotary = new RotaryTables(device, options.config, longest);
    const rows = options.batch * longest;
    const own = (name: string, words: number) => this.#own(name, words);
    const kept = options.teacher?.kept ?? 0;
    this.#inputs = {
      tokens: own('tokens', rows),
      labels: own('labels', rows),
      weights: own('row weights', 2 * rows),
      segments: isTrainable(options.weights.embedding) ? own('segments', tokenSegmentWords(rows)) : undefined,
      teacher: options.teacher && {
        ids: own('teacher ids', rows * kept),
        probs: own('teacher probabilities', rows * kept),
        counts: own('teacher counts', rows),
      },
    };
    this.losses = own('losses', 2 * rows);
    this.#hyper = own('hyper-parameters', 9);
    if (options.parameters.optimizer === 'adamw8bit') {
      this.#codes = own('moment codes', 512);
      this.#upload(this.#codes, momentCodeTable());
    }
    this.#gradScale = own('gradient scale', 2);
    const ring = own('loss ring', RING_LENGTH * RING_ENTRY);
    this.#ring = device.readback(this.#bufferOf(ring), 4);
    const state = own('state', 4);
    const record = { losses: this.losses, weights: this.#inputs.weights, state, ring };
    this.#clear = this.#plan('clear gradients', (graph) => {
      for (const { g } of this.#arenas()) graph.emit(fill({ y: g }, g.bytes / 4, 0));
      graph.emit(recordLoss(record, RING, 0));
    });
    for (const length of [...options.lengths].sort((a, b) => b - a)) {
      const planned = this.#plan(`micro-batch of ${length}`, (graph) => {
        this.#traceModel(graph, length);
        graph.emit(recordLoss(record, RING, options.batch * length, true));
      });
      this.#micro.set(length, planned);
    }
    this.#apply = this.#plan('update', (graph) => {
      this.#traceUpdate(graph, { state, ring });
      graph.emit(advance({ state }, 0));
    });
    this.slotBytes = this.#pool.bytes;
  }

  /** Gradients of one or more micro-batches, then one AdamW update. `step` counts from 1. */
  async step(micros: readonly MicroBatch[], learningRate: number, step: number): Promise<void> {
    await this.accumulate(micros);
    const { beta1, beta2, epsilon, weightDecay } = this.#options;
    const settings = { learningRate, beta1, beta2, epsilon, weightDecay, step };
    this.#upload(this.#hyper, this.#codes ? adamw8bitHyper(settings) : adamwHyper(settings));
    await this.#apply.program.run();
    this.#steps++;
  }

  /** Clears the gradients and sums up those of the micro-batches. */
  async accumulate(micros: readonly MicroBatch[]): Promise<void> {
    this.#clear.program.submit();
    for (const micro of micros) {
      this.#uploadMicro(micro);
      await this.#programFor(micro.length).run();
    }
  }

  /** Losses of the steps since the last call, oldest first; at most the last 64 are kept. */
  async readLosses(): Promise<StepLoss[]> {
    const end = this.#steps;
    const from = Math.max(this.#read, end - RING_LENGTH);
    this.#read = end;
    const ring = new Float32Array(await this.#ring.read());
    return Array.from({ length: end - from }, (_, index) => {
      const at = ((from + index) % RING_LENGTH) * RING_ENTRY;
      const [supervised = NaN, distillation = NaN, gradientNorm = NaN, gradientScale = NaN] = ring.slice(
        at,
        at + RING_ENTRY,
      );
      return { supervised, distillation, gradientNorm, gradientScale };
    });
  }

  /** Unweighted losses of every row of the last micro-batch, `[B·T, 2]`. */
  rowLosses(): Promise<Float32Array<ArrayBuffer>> {
    return this.#device.downloadF32(this.#bufferOf(this.losses));
  }

  /** Milliseconds per dispatch of one micro-batch of a length and an update, where the adapter can tell. */
  async profile(length: number): Promise<{ kernel: string; ms: number }[]> {
    return [...(await this.#programFor(length).profile()), ...(await this.#apply.program.profile())];
  }

  dispose(): void {
    for (const { program } of [this.#clear, ...this.#micro.values(), this.#apply]) program.dispose();
    this.#ring.dispose();
    this.#rotary.dispose();
    this.#pool.dispose();
    for (const buffer of this.#owned) this.#device.destroyBuffer(buffer);
  }

  #programFor(length: number): Planned['program'] {
    const planned = this.#micro.get(length);
    if (!planned) throw new AlloyError('internal', `no program for micro-batches of ${length} tokens`);
    return planned.program;
  }

  #traceModel(graph: Graph, length: number): void {
    const { config, weights, batch, teacher } = this.#options;
    const { tokens, labels, weights: rowWeights, segments, teacher: rows } = this.#inputs;
    const input = { tokens, batch, length, rotary: this.#rotary.tables, ...(segments && { segments }) };
    const hidden = decoderHidden(graph, config, weights, input);
    const buffers: LossBuffers = {
      labels,
      weights: rowWeights,
      losses: this.losses,
      teacher: teacher && rows && { ...teacher, ...rows },
    };
    headLoss(graph, hidden, weights.head, buffers, { cap: config.logitCap, gradient: true });
    graph.backward();
  }

  #traceUpdate(graph: Graph, { state, ring }: { state: Tensor; ring: Tensor }): void {
    const gradients = this.#arenas().map(({ g }) => ({ buffer: g, count: g.bytes / 4 }));
    const counts = gradients.map(({ count }) => count);
    const partials = graph.tensor('norm partials', [gradientNormBytes(counts) / 4]);
    graph.emit(clipScale(gradients, { partials, gradScale: this.#gradScale }, this.#options.clip));
    const step = { gradScale: this.#gradScale, state, ring };
    graph.emit([guardStep(step, RING, FAULT_SLOT), recordNorm(step, RING)]);
    for (const { scales, ...arena } of this.#arenas()) {
      const buffers = { ...arena, hyper: this.#hyper, gradScale: this.#gradScale };
      const count = arena.g.bytes / 4;
      if (scales && this.#codes) graph.emit(adamw8bit({ ...buffers, scales, codes: this.#codes }, count));
      else graph.emit(adamw(buffers, count));
    }
  }

  #arenas(): { w: Tensor; g: Tensor; m: Tensor; v: Tensor; scales: Tensor | undefined }[] {
    const whole = (buffer: DeviceBuffer) => tensorIn(buffer, buffer.label, [buffer.bytes / 4]);
    return this.#options.parameters.arenas.map(({ w, g, m, v, scales }) => ({
      w: whole(w),
      g: whole(g),
      m: whole(m),
      v: whole(v),
      scales: scales && whole(scales),
    }));
  }

  #plan(label: string, trace: (graph: Graph) => void): Planned {
    const graph = new Graph(this.#device.info.tuning, {
      recompute: this.#options.recompute,
      bindingBytes: this.#device.limits.bindingBytes,
    });
    trace(graph);
    return plan(this.#device, graph.dispatches, { label, pool: this.#pool });
  }

  #uploadMicro({ length, tokens, labels, weights, teacher }: MicroBatch): void {
    const rows = this.#options.batch * length;
    if (tokens.length !== rows || labels.length !== rows || weights.length !== 2 * rows) {
      throw new AlloyError('internal', `a micro-batch has ${tokens.length} rows instead of ${rows}`);
    }
    this.#rotary.setLength(length);
    this.#upload(this.#inputs.tokens, tokens);
    this.#upload(this.#inputs.labels, labels);
    this.#upload(this.#inputs.weights, weights);
    if (this.#inputs.segments)
      this.#upload(this.#inputs.segments, tokenSegments(tokens, this.#options.config.padding));
    if (!this.#inputs.teacher) return;
    if (!teacher) throw new AlloyError('internal', 'a micro-batch lacks its teacher rows');
    this.#upload(this.#inputs.teacher.ids, teacher.ids);
    this.#upload(this.#inputs.teacher.probs, teacher.probs);
    this.#upload(this.#inputs.teacher.counts, teacher.counts);
  }

  #upload(tensor: Tensor, data: ArrayBufferView<ArrayBuffer>): void {
    this.#device.upload(this.#bufferOf(tensor), data);
  }

  #bufferOf(tensor: Tensor): DeviceBuffer {
    if (!tensor.home) throw new AlloyError('internal', `${tensor.name} has no buffer`);
    return tensor.home;
  }

  #own(name: string, words: number): Tensor {
    const buffer = this.#device.createBuffer(words * 4, name);
    this.#owned.push(buffer);
    return tensorIn(buffer, name, [words]);
  }
}
