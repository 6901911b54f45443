/**
 * What a fusion will take on the GPU, known before anything is loaded: the constructors that a run uses are run on a device
 * on paper, phase by phase as `runFusion` goes through them, so there is no second account that could differ.
 */

import { type Device, type DeviceInfo, type DeviceLimits, STAGING_BYTES } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { MEMORY_KINDS, type MemoryParts } from '../device/memoryLedger.ts';
import { PaperDevice } from '../device/paperDevice.ts';
import { Trainer } from '../distill/trainer.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import type { WeightFormat } from '../kernels/weightFormat.ts';
import { LiveMerge } from '../merge/liveMerge.ts';
import { adaptedMatrices, TrainableAdapters } from '../models/adapters.ts';
import type { DecoderConfig } from '../models/config.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import { Generator } from '../models/generator.ts';
import type { Parameters } from '../models/parameters.ts';
import { bucketLength, Scorer } from '../models/scorer.ts';
import { formatFor, type Precision } from '../models/tensorSource.ts';
import { matrixShape, placeDecoder } from '../models/weights.ts';
import { AlloyError } from '../util/errors.ts';
import { recipeMethod } from './mergeFile.ts';
import { optimizerOf, type Recipe, recomputation } from './recipe.ts';

/** A model as a plan needs it. */
export interface PlannedModel {
  readonly name: string;
  readonly config: DecoderConfig;
  /** How the file has a matrix, by its name. */
  readonly format: (tensor: string) => WeightFormat;
  /** Another runtime runs it: what it takes is not known. */
  readonly frozen?: boolean;
}

/** The most that one phase of a run takes, and what for. */
export interface PhaseMemory {
  readonly phase: string;
  readonly bytes: number;
  readonly parts: MemoryParts;
}

export interface MemoryPlan {
  readonly phases: readonly PhaseMemory[];
  /** The phase that takes most. */
  readonly peak: PhaseMemory;
  /** Why it cannot run on this adapter however much memory there is; undefined where it can. */
  readonly problem: string | undefined;
}

/** The adapter that a plan is for. */
export interface PlannedAdapter {
  readonly info?: Partial<Pick<DeviceInfo, 'tuning'>>;
  /** A plan may go beyond `totalBytes`, so that it tells by how much. */
  readonly limits?: Partial<Pick<DeviceLimits, 'bufferBytes' | 'bindingBytes' | 'totalBytes'>>;
}

export interface FusionOnPaper {
  readonly pivot: PlannedModel;
  readonly sources: readonly PlannedModel[];
  /** Tokens of the conversations, as far as they are known; else all are taken to be as long as they may be. */
  readonly lengths?: readonly number[] | undefined;
}

/**
 * Plans a whole run of a recipe.
 * @param reuse takes over all phases of another plan but those that it says
 */
export function planFusion(
  recipe: Recipe,
  models: FusionOnPaper,
  adapter: PlannedAdapter = {},
  reuse?: { readonly plan: MemoryPlan; readonly phases: (phase: string) => boolean },
): Promise<MemoryPlan> {
  return onPaper(adapter, async (device, phases) => {
    if (reuse) phases.reuse(reuse.plan, reuse.phases);
    const { pivot, sources } = models;
    const lengths = plannedLengths(models.lengths, recipe.train.maxTokens);
    const own = placed(device, pivot, recipe.precision);
    await phases.of(`read ${pivot.name}`, () => readRows(device, pivot, own.weights, lengths, recipe));
    await phases.of(`evaluate ${pivot.name}`, () => evaluate(device, pivot, own.weights, lengths, recipe));
    for (const source of sources) {
      if (source.frozen) continue;
      const loaded = placed(device, source, recipe.precision);
      await phases.of(`read ${source.name}`, () => readRows(device, source, loaded.weights, lengths, recipe));
      await phases.of(`evaluate ${source.name}`, () =>
        evaluate(device, source, loaded.weights, lengths, recipe),
      );
      loaded.dispose();
    }
    const kept = recipe.represent.topK;
    await phases.of('train', () => train(device, pivot.config, own.weights, lengths, recipe, kept));
    await phases.of('merge', () =>
      mergeAndEvaluate(device, pivot, own.weights, lengths, sources.length, recipe),
    );
  });
}

/** Plans a model that answers with a cache of `capacity` positions, scores texts of some lengths, or both. */
export function planModel(
  model: PlannedModel,
  use: {
    readonly capacity?: number;
    /** Lengths longest first; `batchTokens` as `Scorer` takes it. */
    readonly score?: {
      readonly lengths: readonly number[];
      readonly topK: number;
      readonly batchTokens?: number;
    };
  },
  adapter: PlannedAdapter = {},
): Promise<MemoryPlan> {
  return onPaper(adapter, async (device, phases) => {
    const { weights } = placed(device, model);
    const { capacity, score } = use;
    await phases.of('run', async () => {
      if (capacity !== undefined) new Generator(device, model.config, weights, { capacity });
      if (!score) return;
      const { lengths, ...options } = score;
      await scoreAll(device, new Scorer(device, model.config, weights, options), lengths);
    });
  });
}

/** What training takes beside what `recipe.train` says of it. */
export interface TrainingOnPaper {
  readonly lengths: readonly number[];
  /** Entries of a teacher's row. */
  readonly kept: number;
}

/** Plans training alone, with adapters or of all weights. */
export function planTraining(
  model: PlannedModel,
  recipe: Pick<Recipe, 'train' | 'fuse'>,
  { lengths, kept }: TrainingOnPaper,
  options: { readonly full?: boolean } = {},
  adapter: PlannedAdapter = {},
): Promise<MemoryPlan> {
  return onPaper(adapter, async (device, phases) => {
    const { weights, parameters } = placeDecoder(device, model.config, (name) => model.format(name), {
      trainable: options.full ?? false,
      optimizer: optimizerOf(recipe),
    });
    await phases.of('train', async () => {
      if (!parameters) return train(device, model.config, weights, lengths, recipe, kept);
      trainerOf(device, model.config, { weights, parameters }, recipe, lengths, kept);
      takeCheckpoint(device, parameters);
    });
  });
}

/** Gathers the most that each phase takes. */
class Phases {
  readonly found: PhaseMemory[] = [];
  readonly #device: PaperDevice;
  #reused = new Map<string, PhaseMemory>();

  constructor(device: PaperDevice) {
    this.#device = device;
  }

  reuse({ phases }: MemoryPlan, but: (phase: string) => boolean): void {
    const kept = phases.filter(({ phase }) => !but(phase));
    this.#reused = new Map(kept.map((one) => [one.phase, one]));
  }

  async of(phase: string, work: () => Promise<void>): Promise<void> {
    const { memory } = this.#device;
    const known = this.#reused.get(phase);
    if (known) {
      this.found.push(known);
      return;
    }
    memory.restartPeak();
    try {
      await work();
    } finally {
      this.found.push({ phase, bytes: memory.peakBytes, parts: memory.peakParts });
    }
  }
}

const NOTHING: PhaseMemory = {
  phase: '',
  bytes: 0,
  parts: Object.fromEntries(MEMORY_KINDS.map((kind) => [kind, 0])) as Record<keyof MemoryParts, number>,
};

async function onPaper(
  { info, limits }: PlannedAdapter,
  work: (device: PaperDevice, phases: Phases) => Promise<void>,
): Promise<MemoryPlan> {
  const device = new PaperDevice({ info, limits: { ...limits, totalBytes: Number.POSITIVE_INFINITY } });
  const phases = new Phases(device);
  let problem: string | undefined;
  try {
    await work(device, phases);
  } catch (error) {
    if (!(error instanceof AlloyError && error.code === 'out-of-memory')) throw error;
    problem = error.message;
  }
  const peak = phases.found.reduce((most, one) => (one.bytes > most.bytes ? one : most), NOTHING);
  return { phases: phases.found, peak, problem };
}

function placed(device: Device, { config, format }: PlannedModel, precision: Precision = 'file') {
  return placeDecoder(device, config, (name) => formatFor(precision, format(name)));
}

function plannedLengths(told: readonly number[] | undefined, maxTokens: number): number[] {
  const cut = (told ?? [maxTokens]).map((length) => Math.min(length, maxTokens));
  return [...new Set(cut.map(bucketLength))].sort((a, b) => b - a);
}

/**
 * Lengths that are planned one by one, longest first: they decide what is shared. Programs of shorter texts only add what
 * is their own, about as much as that of the last one planned.
 */
const PLANNED_LENGTHS = 3;

/** @returns what stands for the programs that are not planned one by one, to be freed with the scorer */
async function scoreAll(device: Device, scorer: Scorer, lengths: readonly number[]): Promise<DeviceBuffer> {
  let added = 0;
  for (const length of lengths.slice(0, PLANNED_LENGTHS)) {
    const before = device.stats.bytes;
    const one = new Uint32Array(length);
    await scorer.score(Array.from({ length: scorer.batchFor(length) }, () => one));
    added = device.stats.bytes - before;
  }
  return shorterPrograms(device, lengths, added);
}

function shorterPrograms(device: Device, lengths: readonly number[], bytesEach: number): DeviceBuffer {
  const count = Math.max(0, lengths.length - PLANNED_LENGTHS);
  return device.createBuffer(count * bytesEach, 'programs of shorter texts');
}

function batchTokens({ scoreTokens }: Recipe['memory']): { batchTokens?: number } {
  return scoreTokens === undefined ? {} : { batchTokens: scoreTokens };
}

async function readRows(
  device: Device,
  { config }: PlannedModel,
  weights: DecoderWeights,
  lengths: readonly number[],
  { represent, memory }: Recipe,
): Promise<void> {
  const marks = new Uint32Array(Math.ceil(config.vocabSize / 32));
  const scorer = new Scorer(device, config, weights, {
    topK: represent.topK,
    marks,
    ...batchTokens(memory),
  });
  device.destroyBuffer(await scoreAll(device, scorer, lengths));
  scorer.dispose();
}

async function evaluate(
  device: Device,
  { config }: PlannedModel,
  weights: DecoderWeights,
  lengths: readonly number[],
  { evaluate: { accuracy, maxNewTokens }, train: { maxTokens }, memory }: Recipe,
): Promise<void> {
  const scorer = new Scorer(device, config, weights, { topK: 1, ...batchTokens(memory) });
  const capacity = maxTokens + maxNewTokens;
  const generator = accuracy ? new Generator(device, config, weights, { capacity }) : undefined;
  device.destroyBuffer(await scoreAll(device, scorer, lengths));
  generator?.dispose();
  scorer.dispose();
}

async function train(
  device: PaperDevice,
  config: DecoderConfig,
  weights: DecoderWeights,
  lengths: readonly number[],
  recipe: Pick<Recipe, 'train' | 'fuse'>,
  kept: number,
): Promise<void> {
  const { rank, alpha, matrices } = recipe.train;
  const optimizer = optimizerOf(recipe);
  const adapters = new TrainableAdapters(device, config, weights, { rank, alpha, matrices, optimizer });
  const trainer = trainerOf(device, config, adapters, recipe, lengths, kept);
  takeCheckpoint(device, adapters.parameters);
  trainer.dispose();
  adapters.dispose();
}

function trainerOf(
  device: PaperDevice,
  config: DecoderConfig,
  trained: Pick<TrainableAdapters, 'weights' | 'parameters'>,
  { train: settings, fuse }: Pick<Recipe, 'train' | 'fuse'>,
  lengths: readonly number[],
  kept: number,
): { dispose(): void } {
  const { batch, microBatch = batch, beta1, beta2, weightDecay, clip, recompute } = settings;
  const mode = fuse.loss === 'tail' ? 'tail' : 'sparse';
  device.largestProgramBytes = 0;
  const trainer = new Trainer(device, {
    config,
    weights: trained.weights,
    parameters: trained.parameters,
    batch: Math.min(microBatch, batch),
    lengths: lengths.slice(0, PLANNED_LENGTHS),
    ...(kept > 0 && { teacher: { mode, kept } }),
    beta1,
    beta2,
    epsilon: 1e-8,
    weightDecay,
    clip,
    recompute: recomputation(recompute),
  });
  const rest = shorterPrograms(device, lengths, device.largestProgramBytes);
  return {
    dispose() {
      device.destroyBuffer(rest);
      trainer.dispose();
    },
  };
}

/** A checkpoint is read back in pieces. */
function takeCheckpoint(device: Device, parameters: Parameters): void {
  for (const { w } of parameters.arenas) {
    device.readback(w.slice(0, Math.min(w.bytes, STAGING_BYTES)), 1).dispose();
  }
}

async function mergeAndEvaluate(
  device: Device,
  pivot: PlannedModel,
  weights: DecoderWeights,
  lengths: readonly number[],
  sources: number,
  recipe: Recipe,
): Promise<void> {
  const { config } = pivot;
  const delta = emptyDelta(config, recipe);
  const create = (count: number) =>
    LiveMerge.create(
      device,
      config,
      weights,
      Array.from({ length: count }, () => delta),
      { kind: 'linear' },
    );
  const merge = await create(sources);
  await merge.setMethod(recipeMethod(recipe));
  const alone = await create(1);
  await evaluate(device, pivot, alone.model, lengths, recipe);
  alone.dispose();
  await evaluate(device, pivot, merge.model, lengths, recipe);
  merge.dispose();
}

/** A delta of the right shapes; on paper nobody looks at its numbers. */
function emptyDelta(config: DecoderConfig, { train: { rank, alpha, matrices } }: Recipe): LoraMatrix[] {
  const shapes = adaptedMatrices(config, matrices).map(({ matrix, path }) => ({
    path,
    shape: matrixShape(config, matrix),
  }));
  const zeros = new Float32Array(rank * Math.max(0, ...shapes.flatMap(({ shape }) => shape)));
  return shapes.map(({ path, shape: [outFeatures, inFeatures] }) => ({
    module: path,
    rank,
    scale: alpha / rank,
    inFeatures,
    outFeatures,
    a: zeros.subarray(0, rank * inFeatures),
    b: zeros.subarray(0, rank * outFeatures),
  }));
}
