/** Trains one target: low-rank factors on the frozen pivot, from its conversations and, if given, a teacher's rows. */
import type { Representation } from '../align/representation.ts';
import type { Device } from '../device/device.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import type { Recomputation } from '../graph/recompute.ts';
import { type MatrixChoice, TrainableAdapters } from '../models/adapters.ts';
import type { DecoderConfig } from '../models/config.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import type { Optimizer } from '../models/parameters.ts';
import { bucketLength } from '../models/scorer.ts';
import { AlloyError, required } from '../util/errors.ts';
import { findNumberFault, type NumberFault } from './faultSearch.ts';
import { type ConversationTargets, type TargetLoss, writeTargets } from './fusedTargets.ts';
import { rowWeights } from './objective.ts';
import { BatchOrder, learningRate, microBatches, stepCount } from './schedule.ts';
import { type MicroBatch, type StepLoss, Trainer } from './trainer.ts';

/** What one run learns from and how; see the recipe for the meaning of each. */
export interface DistilSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly matrices: MatrixChoice;
  readonly learningRate: number;
  readonly batch: number;
  readonly microBatch?: number | undefined;
  readonly epochs: number;
  readonly steps?: number | undefined;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly clip: number;
  readonly beta1: number;
  readonly beta2: number;
  /** Weight of the supervised term; 1 without a teacher. */
  readonly lambda: number;
  readonly loss: TargetLoss;
  readonly seed: number;
  readonly optimizer: Optimizer;
  readonly recompute: Recomputation;
}

export interface Lesson {
  /** The pivot's tokens and what is trained on. */
  readonly pivot: Representation;
  readonly targets: ConversationTargets | undefined;
}

/** State after `step` finished steps: enough to go on with the same numbers. */
export interface DistilCheckpoint {
  readonly step: number;
  readonly parameters: readonly (Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>)[];
}

export interface DistilHooks {
  readonly resume?: DistilCheckpoint | undefined;
  readonly checkpointEvery: number;
  saveCheckpoint(checkpoint: DistilCheckpoint): Promise<void>;
  /** True while `between` would wait: losses are told at once then. */
  readonly waiting: () => boolean;
  /** Called once, before the kernels of the first step are compiled. */
  onBegin(step: number, total: number): void;
  /** Called between steps; may wait (pause) or throw (stop). */
  between(step: number): Promise<void>;
  onLosses(step: number, losses: readonly (StepLoss & { learningRate: number })[]): void;
}

const ADAM_EPSILON = 1e-8;
/** Losses are read back at most this often, so that the GPU seldom waits for the host. */
const REPORT_MS = 120;

/** @returns the delta; @throws AlloyError `bad-data` without a trainable conversation, or what a hook throws */
export async function distil(
  device: Device,
  config: DecoderConfig,
  base: DecoderWeights,
  lessons: readonly Lesson[],
  settings: DistilSettings,
  hooks: DistilHooks,
): Promise<LoraMatrix[]> {
  const usable = lessons.filter(
    ({ pivot, targets }) => pivot.scored.includes(1) && targets?.chosen !== 'dropped',
  );
  const steps = stepCount({ conversations: usable.length, batch: settings.batch }, settings);
  hooks.onBegin(hooks.resume?.step ?? 0, steps);
  const packer = new LessonPacker(usable, settings);
  const { adapters, trainer } = device.allOrNothing(() => {
    const made = new TrainableAdapters(device, config, base, settings);
    return { adapters: made, trainer: makeTrainer(device, config, made, packer, settings) };
  });
  try {
    await device.settled();
    if (hooks.resume) adapters.parameters.restore(hooks.resume.parameters);
    else adapters.initialise(settings.seed);
    await trainSteps(adapters, trainer, packer, settings, steps, hooks);
    return await adapters.read();
  } finally {
    trainer.dispose();
    adapters.dispose();
  }
}

function makeTrainer(
  device: Device,
  config: DecoderConfig,
  { weights, parameters }: TrainableAdapters,
  packer: LessonPacker,
  settings: DistilSettings,
): Trainer {
  const { beta1, beta2, weightDecay, clip, recompute } = settings;
  const mode = settings.loss === 'tail' ? 'tail' : 'sparse';
  return new Trainer(device, {
    config,
    weights,
    parameters,
    batch: packer.microBatch,
    lengths: packer.lengths,
    ...(packer.width > 0 && { teacher: { mode, kept: packer.width } }),
    beta1,
    beta2,
    epsilon: ADAM_EPSILON,
    weightDecay,
    clip,
    recompute,
  });
}

async function trainSteps(
  adapters: TrainableAdapters,
  trainer: Trainer,
  packer: LessonPacker,
  settings: DistilSettings,
  steps: number,
  hooks: DistilHooks,
): Promise<void> {
  const rate = (step: number) =>
    learningRate(step, { peak: settings.learningRate, steps, warmup: settings.warmup });
  const start = hooks.resume?.step ?? 0;
  let reported = start;
  let reportedAt = performance.now();
  const report = async (done: number) => {
    if (done === reported) return;
    const losses = await trainer.readLosses();
    const bad = losses.findIndex(({ gradientScale }) => gradientScale === 0);
    const good = bad < 0 ? losses : losses.slice(0, bad);
    hooks.onLosses(
      reported + good.length,
      good.map((loss, i) => ({ ...loss, learningRate: rate(reported + i) })),
    );
    if (bad >= 0) await stopAtFault(adapters, trainer, packer, reported + bad, hooks);
    reported = done;
    reportedAt = performance.now();
  };
  for (let step = start; step < steps; step++) {
    if (hooks.waiting()) await report(step);
    await hooks.between(step);
    await trainer.step(packer.step(step), rate(step), step + 1);
    const done = step + 1;
    if (done === steps || done - reported >= 32 || performance.now() - reportedAt >= REPORT_MS) {
      await report(done);
    }
    if (done % hooks.checkpointEvery === 0 && done < steps) {
      await report(done);
      await hooks.saveCheckpoint({ step: done, parameters: await adapters.parameters.snapshot() });
    }
  }
}

/**
 * Ends a run whose numbers after `step` finished steps were not finite: keeps what it had learnt until then and says
 * where they first appeared.
 * @throws AlloyError `not-finite`
 */
async function stopAtFault(
  adapters: TrainableAdapters,
  trainer: Trainer,
  packer: LessonPacker,
  step: number,
  hooks: DistilHooks,
): Promise<never> {
  await hooks.saveCheckpoint({ step, parameters: await adapters.parameters.snapshot() });
  const fault = await findNumberFault(trainer, adapters.parameters, packer.step(step));
  const place = fault ? describeFault(fault, packer.conversations(step)) : 'a number was not finite';
  throw new AlloyError(
    'not-finite',
    `Step ${step + 1}: ${place}; the update was not applied, and what was learnt before it is kept as a checkpoint, from which the same recipe goes on and comes to this step again. Lower train.learningRate, or leave that conversation out; this training then starts anew.`,
  );
}

function describeFault(fault: NumberFault, conversations: readonly (readonly string[])[]): string {
  const id = JSON.stringify(conversations[fault.micro]?.[fault.sequence] ?? '');
  const value = Number.isNaN(fault.value) ? 'not a number' : String(fault.value);
  switch (fault.kind) {
    case 'loss':
      return `the ${fault.term} loss of conversation ${id} is ${value} at its token ${(fault.position ?? 0) + 1}`;
    case 'gradient':
      return `the losses are finite, but the gradient of ${fault.parameter} is ${value} with conversation ${id}`;
    case 'norm':
      return `the gradients are finite, but too large to be summed up; the largest element, ${value}, is in ${fault.parameter}`;
    default:
      return fault.kind satisfies never;
  }
}

/** Lays the conversations of a step into micro-batches of rows. */
class LessonPacker {
  readonly microBatch: number;
  /** Entries of a teacher row; 0 without a teacher. */
  readonly width: number;
  readonly lengths: readonly number[];
  readonly #lessons: readonly Lesson[];
  readonly #order: BatchOrder;
  readonly #tokenCounts: readonly number[];
  readonly #lambda: number;

  constructor(lessons: readonly Lesson[], settings: DistilSettings) {
    this.#lessons = lessons;
    this.#lambda = settings.lambda;
    this.microBatch = Math.min(settings.microBatch ?? settings.batch, settings.batch);
    this.width = lessons.find(({ targets }) => targets)?.targets?.width ?? 0;
    this.#tokenCounts = lessons.map(({ pivot }) => pivot.tokens.length);
    this.lengths = [...new Set(this.#tokenCounts.map(bucketLength))];
    this.#order = new BatchOrder({
      conversations: lessons.length,
      batch: settings.batch,
      seed: settings.seed,
    });
  }

  /** Ids of a step's conversations, by micro-batch. */
  conversations(step: number): string[][] {
    return this.#groups(step).map((group) =>
      Array.from(group, (index) => required(this.#lessons[index], `lesson ${index}`).pivot.id),
    );
  }

  step(step: number): MicroBatch[] {
    const laid = this.#groups(step).map((group) => this.#lay(group));
    const supervised = laid.flatMap(({ labels }) => Array.from(labels, (label) => (label >= 0 ? 1 : 0)));
    const teacher = laid.flatMap(({ labels, teacher: rows }) =>
      rows ? [...rows.counts] : Array.from(labels, () => 0),
    );
    const { weights } = rowWeights({ supervised, teacher }, this.#lambda);
    let at = 0;
    return laid.map((micro) => {
      const part = weights.slice(at, at + 2 * micro.labels.length);
      at += part.length;
      return { ...micro, weights: part };
    });
  }

  #groups(step: number): readonly Uint32Array[] {
    return microBatches(this.#order.at(step), this.#tokenCounts, this.microBatch);
  }

  #lay(group: Uint32Array): Omit<MicroBatch, 'weights'> {
    const lessons = Array.from(group, (index) => required(this.#lessons[index], `lesson ${index}`));
    const length = bucketLength(Math.max(...lessons.map(({ pivot }) => pivot.tokens.length)));
    const rows = this.microBatch * length;
    const tokens = new Uint32Array(rows);
    const labels = new Int32Array(rows).fill(-100);
    const teacher =
      this.width > 0
        ? {
            ids: new Uint32Array(rows * this.width),
            probabilities: new Float32Array(rows * this.width),
            counts: new Uint32Array(rows),
          }
        : undefined;
    lessons.forEach(({ pivot, targets }, index) => {
      const first = index * length;
      tokens.set(pivot.tokens, first);
      pivot.scored.forEach((flag, row) => {
        if (flag === 1) labels[first + row] = pivot.tokens[row + 1] ?? -100;
      });
      if (teacher && targets) writeTargets(targets, first, length, teacher);
    });
    if (!teacher) return { length, tokens, labels };
    return {
      length,
      tokens,
      labels,
      teacher: { ids: teacher.ids, probs: teacher.probabilities, counts: teacher.counts },
    };
  }
}
