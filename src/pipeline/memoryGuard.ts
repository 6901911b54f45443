import { canonicalTensors } from '../models/canonicalTensors.ts';
import { formatBytes } from '../util/bytes.ts';
import { allowedSteps, doesNotFit, type FittedRecipe, fitRecipe, stepsText } from './memoryAdvice.ts';
import type { FusionOnPaper, PlannedModel } from './memoryPlan.ts';
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
  { gpu, onEvent }: Pick<RunContext, 'gpu' | 'onEvent'>,
  recipe: Recipe,
  models: FusionOnPaper,
): Promise<Recipe> {
  const limit = Math.min(recipe.memory.limit ?? Number.POSITIVE_INFINITY, gpu.limits.totalBytes);
  const fitted = await fitRecipe(recipe, models, gpu, limit, allowedSteps(recipe));
  if (!fitted.fits) {
    const smaller = await fitRecipe(fitted.recipe, models, gpu, limit);
    throw doesNotFit(fitted.plan, limit, withSteps(smaller, fitted));
  }
  if (fitted.steps.length > 0) {
    onEvent({
      kind: 'note',
      text: `To stay within ${formatBytes(limit)} on the GPU (${formatBytes(fitted.plan.peak.bytes)} planned): ${stepsText(fitted.steps)}`,
    });
  }
  return fitted.recipe;
}

/** All steps from the recipe as it was. */
function withSteps(later: FittedRecipe, first: FittedRecipe): FittedRecipe {
  const kept = first.steps.filter(({ path }) => !later.steps.some((step) => step.path === path));
  return { ...later, steps: [...kept, ...later.steps] };
}
