import { packSections, unpackSections } from '../align/sections.ts';
import { type DistilCheckpoint, type DistilSettings, distil, type Lesson } from '../distill/distil.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import { AlloyError } from '../util/errors.ts';
import { packDelta, unpackDelta } from './deltaFile.ts';
import type { OpenModel } from './openModel.ts';
import { optimizerOf, type Recipe, recomputation } from './recipe.ts';
import { beginWork, type RunContext, StageProgress } from './runContext.ts';

const VERSION = 1;
const MAGIC = 'alloychk';

export interface DistilCommon {
  readonly context: RunContext;
  readonly recipe: Recipe;
  readonly pivot: OpenModel;
  readonly weights: DecoderWeights;
  /** Hash of the training conversations. */
  readonly data: string;
}

/**
 * Trains one target or the control, or reads it from the store. A run that was killed goes on from its last checkpoint.
 * @param teacher identity of the source; undefined for the control, which learns from the labels alone
 */
export async function distilTarget(
  { context, recipe, pivot, weights, data }: DistilCommon,
  name: string,
  lessons: readonly Lesson[],
  teacher: string | undefined,
): Promise<{ delta: readonly LoraMatrix[]; key: string }> {
  const { checkpointEvery, maxTokens, recompute, optimizer: _, ...train } = recipe.train;
  const optimizer = optimizerOf(recipe);
  const settings = {
    ...train,
    lambda: teacher === undefined ? 1 : recipe.fuse.lambda,
    loss: recipe.fuse.loss,
    seed: recipe.seed,
  };
  const key = await context.store.key('distil', VERSION, {
    pivot: pivot.identity,
    data,
    maxTokens,
    // Recomputation changes no number, and what was trained before there was a choice of optimizers is still good.
    settings: {
      ...settings,
      loss: teacher && settings.loss,
      ...(optimizer !== 'adamw' && { optimizer }),
    },
    teacher: teacher && {
      source: teacher,
      represent: recipe.represent,
      align: recipe.align,
      choice: recipe.fuse.choice,
    },
  });
  const stored = await context.store.readAs('distil', key, (bytes) => unpackDelta(bytes, name));
  if (stored) {
    context.onEvent({ kind: 'stage', stage: 'distil', label: name, cached: true });
    return { delta: stored, key };
  }
  beginWork(context);
  const resume = await context.store.readAs('checkpoint', key, (bytes) => readCheckpoint(bytes, key));
  let progress: StageProgress | undefined;
  const chosen: DistilSettings = { ...settings, optimizer, recompute: recomputation(recompute) };
  const delta = await distil(context.device, pivot.config, weights, lessons, chosen, {
    resume,
    checkpointEvery,
    saveCheckpoint: (checkpoint) => context.store.write('checkpoint', key, writeCheckpoint(checkpoint)),
    waiting: () => context.control.paused,
    between: () => context.control.checkpoint(),
    onBegin(step, total) {
      progress = new StageProgress(context, 'distil', name, total, step);
    },
    onLosses(step, losses) {
      losses.forEach(({ supervised, distillation, learningRate }, index) => {
        context.onEvent({
          kind: 'loss',
          target: name,
          step: step - losses.length + index + 1,
          total: supervised + distillation,
          // The ring holds the weighted terms; NaN where a weight of 0 has wiped a term out.
          supervised: supervised / settings.lambda,
          distillation: teacher === undefined ? 0 : distillation / (1 - settings.lambda),
          learningRate,
        });
      });
      progress?.tell(step);
    },
  });
  await context.store.write('distil', key, await packDelta(delta));
  await context.store.remove('checkpoint', key);
  return { delta, key };
}

function writeCheckpoint({ step, parameters }: DistilCheckpoint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(packSections(MAGIC, VERSION, { step }, [...parameters]));
}

function readCheckpoint(bytes: Uint8Array, name: string): DistilCheckpoint {
  const { meta, arrays } = unpackSections(bytes, MAGIC, VERSION, name);
  const { step } = meta as { step?: unknown };
  const parameters = arrays.map((array) =>
    array instanceof Uint32Array ? new Uint32Array(array) : new Float32Array(array as Float32Array),
  );
  if (typeof step !== 'number')
    throw new AlloyError('bad-file', `The checkpoint ${name} is damaged; delete it and train again.`);
  return { step, parameters };
}
