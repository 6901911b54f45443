import { allowedSteps, fitRecipe, type MemoryStep, memorySuggestions } from './memoryAdvice.ts';
import { fusionOnPaper } from './memoryGuard.ts';
import type { FusionOnPaper, PlannedAdapter } from './memoryPlan.ts';
import type { MemoryForecast } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import type { RunContext } from './runContext.ts';
import { loadData } from './runData.ts';

/** Plans a run from what the models' files say of them. */
export async function forecastRun(
  context: Pick<RunContext, 'openModel' | 'readText'>,
  recipe: Recipe,
  adapter: PlannedAdapter,
): Promise<MemoryForecast> {
  const pivot = await context.openModel(recipe.pivot);
  const sources = await Promise.all(recipe.sources.map((source) => context.openModel(source)));
  const paper = fusionOnPaper(pivot, sources, await loadData(context, recipe), recipe.train.maxTokens);
  return memoryForecast(recipe, paper, adapter);
}

const told = ({ path, value, what }: MemoryStep): MemoryStep => ({ path, value, what });

/** What a run of the recipe will take as it would be run, and what could be changed about it. */
export async function memoryForecast(
  recipe: Recipe,
  models: FusionOnPaper,
  adapter: PlannedAdapter,
): Promise<MemoryForecast> {
  const { limit } = recipe.memory;
  const total = adapter.limits?.totalBytes ?? Number.POSITIVE_INFINITY;
  const most = Math.min(limit ?? Number.POSITIVE_INFINITY, total);
  const itself = await fitRecipe(recipe, models, adapter, most, allowedSteps(recipe));
  const { plan } = itself;
  const smaller = itself.fits ? undefined : await fitRecipe(itself.recipe, models, adapter, most);
  return {
    peak: plan.peak,
    phases: plan.phases.map(({ phase, bytes }) => ({ phase, bytes })),
    fits: itself.fits,
    chosen: itself.steps.map(told),
    suggestions: await memorySuggestions(itself.recipe, models, adapter, plan),
    // What the device itself has is worth a word only where it is not enough.
    ...(Number.isFinite(most) && (limit !== undefined || !itself.fits) && { limitBytes: most }),
    ...(plan.problem !== undefined && { problem: plan.problem }),
    ...(smaller && {
      smaller: { fits: smaller.fits, bytes: smaller.plan.peak.bytes, steps: smaller.steps.map(told) },
    }),
  };
}
