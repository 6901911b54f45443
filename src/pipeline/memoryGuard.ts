import type { Device } from '../device/device.ts';
import { canonicalTensors } from '../models/canonicalTensors.ts';
import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import { allowedSteps, doesNotFit, type FittedRecipe, fitRecipe, stepsText } from './memoryAdvice.ts';
import { type FusionOnPaper, type PlannedModel, planFusion, planModel } from './memoryPlan.ts';
import type { OpenModel } from './openModel.ts';
import type { Recipe } from './recipe.ts';
import type { RunContext } from './runContext.ts';
import type { LoadedData } from './runData.ts';

/** A model as a plan needs it, from what its files say before they are read. */
export function plannedModel({ name, config, tensors, onnx }: OpenModel): PlannedModel {
  if (onnx) return { name, config, format: () => ({ kind: 'f32' }), frozen: true };
  const { format } = canonicalTensors(config, tensors);
  return { name, config, format: (tensor) => format?.(tensor) ?? { kind: 'f32' } };
}

/** The models of a run on paper, with the lengths of its conversations in the pivot's tokens. */
export function fusionOnPaper(
  pivot: OpenModel,
  sources: readonly OpenModel[],
  { train, suites }: LoadedData,
  maxTokens: number,
): FusionOnPaper {
  const conversations = [...train, ...suites.flatMap((suite) => suite.conversations)];
  const lengths = conversations.map(({ messages }) => pivot.text.encode(messages, maxTokens).tokens.length);
  return { pivot: plannedModel(pivot), sources: sources.map(plannedModel), lengths: [...new Set(lengths)] };
}

/**
 * Plans a run before it loads anything and settles what the recipe leaves open.
 * @returns the recipe as it will be run
 * @throws AlloyError `out-of-memory` where it does not fit, naming a smaller recipe that does
 */
export async function guardMemory(
  { device, onEvent }: Pick<RunContext, 'device' | 'onEvent'>,
  recipe: Recipe,
  models: FusionOnPaper,
): Promise<Recipe> {
  const limit = Math.min(recipe.memory.limit ?? Number.POSITIVE_INFINITY, device.limits.totalBytes);
  const fitted = await fitRecipe(recipe, models, device, limit, allowedSteps(recipe));
  if (!fitted.fits) {
    const smaller = await fitRecipe(fitted.recipe, models, device, limit);
    throw doesNotFit(fitted.plan, limit, withSteps(smaller, fitted));
  }
  if (fitted.steps.length > 0) {
    onEvent({
      kind: 'note',
      text: `To stay within ${formatBytes(limit)} on the device (${formatBytes(fitted.plan.peak.bytes)} planned): ${stepsText(fitted.steps)}`,
    });
  }
  return fitted.recipe;
}

/** A run that the device had no room for should become this much smaller. */
const SMALLER = 0.6;

/** Adds to an error of a device without room what would take clearly less; other errors stay as they are. */
export async function withSmallerPlan(
  error: unknown,
  { device }: Pick<RunContext, 'device'>,
  recipe: Recipe,
  models: FusionOnPaper,
): Promise<unknown> {
  if (!(error instanceof AlloyError && error.code === 'out-of-memory')) return error;
  const asIs = await planFusion(recipe, models, device);
  const smaller = await fitRecipe(recipe, models, device, SMALLER * asIs.peak.bytes);
  if (smaller.steps.length === 0 || smaller.plan.peak.bytes >= asIs.peak.bytes) return error;
  const sizes = `${formatBytes(smaller.plan.peak.bytes)} instead of ${formatBytes(asIs.peak.bytes)}`;
  return new AlloyError(
    'out-of-memory',
    `${error.message.replace(/;[^;]*$/u, '')}; it would take ${sizes} when the recipe says ${stepsText(smaller.steps)}.`,
    { cause: error },
  );
}

/** All steps from the recipe as it was. */
function withSteps(later: FittedRecipe, first: FittedRecipe): FittedRecipe {
  const kept = first.steps.filter(({ path }) => !later.steps.some((step) => step.path === path));
  return { ...later, steps: [...kept, ...later.steps] };
}

/** What a model is going to be used for: a chat of so many tokens, scoring of texts of such lengths. */
export type ModelUse = Parameters<typeof planModel>[1];

/**
 * Plans one model before it is loaded. Models that another runtime runs cannot be planned.
 * @param limitBytes what may be used beside what the device holds already
 * @throws AlloyError `out-of-memory` where it does not fit
 */
export async function guardModel(
  device: Device,
  model: OpenModel,
  use: ModelUse,
  limitBytes: number,
): Promise<void> {
  if (model.onnx) return;
  const { peak, problem } = await planModel(plannedModel(model), use, device);
  if (problem !== undefined) throw new AlloyError('out-of-memory', problem);
  const most = Math.min(limitBytes, device.limits.totalBytes);
  if (peak.bytes <= most) return;
  const shorter = use.capacity === undefined ? ' shorter texts,' : ' a shorter context (--context),';
  throw new AlloyError(
    'out-of-memory',
    `${model.name} would take ${formatBytes(peak.bytes)} on the device (${formatBytes(peak.parts.weights)} for its weights), but only ${formatBytes(most)} may be used; choose${shorter} a smaller model or one in fewer bits, or raise the limit.`,
  );
}
