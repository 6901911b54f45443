/**
 * What makes a run smaller, in the order of the harm that it does: first what changes no number, then what changes them by
 * rounding, last what changes the result. Every step is planned, none is guessed.
 */
import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import { type FusionOnPaper, type MemoryPlan, type PlannedAdapter, planFusion } from './memoryPlan.ts';
import type { Recipe } from './recipe.ts';

/** A change of one field of a recipe. */
export interface MemoryStep {
  /** The field, e.g. `train.recompute`. */
  readonly path: string;
  readonly value: unknown;
  /** What it means, as half a sentence. */
  readonly what: string;
}

export interface MemorySuggestion extends MemoryStep {
  /** What the run would take with it, and how much less that is. */
  readonly bytes: number;
  readonly savesBytes: number;
}

/** A recipe that fits, or the smallest that there is. */
export interface FittedRecipe {
  readonly recipe: Recipe;
  readonly plan: MemoryPlan;
  readonly steps: readonly MemoryStep[];
  readonly fits: boolean;
}

interface Rung extends MemoryStep {
  /** Which phases' memory it can change; all where absent. */
  readonly phases?: (phase: string) => boolean;
  apply(recipe: Recipe): Recipe;
}

/** A step that saves less than this share is not worth its harm. */
const LEAST_SAVING = 0.01;
const SHORTEST = 64;
/** The projections that matter most to adapters (Hu et al., 2106.09685, section 7.1). */
const FEW_MATRICES: ('q' | 'v')[] = ['q', 'v'];

/** The next steps that a recipe could take, least harm first. */
function rungs(recipe: Recipe): Rung[] {
  const { train, precision, merge, memory } = recipe;
  const found: Rung[] = [];
  const trainStep = <K extends keyof Recipe['train']>(
    key: K,
    value: Recipe['train'][K],
    what: string,
    phases?: Rung['phases'],
  ) =>
    found.push({
      path: `train.${key}`,
      value,
      what,
      ...(phases && { phases }),
      apply: (old) => ({ ...old, train: { ...old.train, [key]: value } }),
    });
  const weights = (value: Recipe['precision'], what: string) =>
    found.push({ path: 'precision', value, what, apply: (old) => ({ ...old, precision: value }) });
  const only = (phase: string) => phase === 'train';
  const tokens = memory.scoreTokens ?? 4096;
  if (tokens > SHORTEST) {
    const value = Math.max(SHORTEST, Math.floor(tokens / 4));
    found.push({
      path: 'memory.scoreTokens',
      value,
      what: `texts are scored in batches of ${value} tokens, equal up to rounding`,
      phases: (phase) => phase !== 'train',
      apply: (old) => ({ ...old, memory: { ...old.memory, scoreTokens: value } }),
    });
  }
  if (train.recompute === 'off' || train.recompute === 'auto') {
    trainStep(
      'recompute',
      'light',
      'norms and activations are worked out twice, with the same numbers',
      only,
    );
  }
  if (train.recompute !== 'on') {
    trainStep('recompute', 'on', 'layers are worked out twice, with the same numbers, a third slower', only);
  }
  const micro = Math.min(train.microBatch ?? train.batch, train.batch);
  if (micro > 1) {
    const half = Math.ceil(micro / 2);
    trainStep(
      'microBatch',
      half,
      `${half} conversations at once instead of ${micro}, summed up to the same batch`,
      only,
    );
    if (half > 1) {
      trainStep(
        'microBatch',
        1,
        `one conversation at once instead of ${micro}, summed up to the same batch`,
        only,
      );
    }
  }
  if (train.optimizer !== 'adamw8bit') {
    trainStep('optimizer', 'adamw8bit', 'the optimizer keeps its moments in 8 bits', only);
  }
  if (precision !== 'q8' && precision !== 'q4') weights('q8', 'weights in 8 bits');
  if (precision !== 'q4') weights('q4', 'weights in 4 bits');
  if (train.maxTokens >= 2 * SHORTEST) {
    const half = Math.floor(train.maxTokens / 2);
    trainStep('maxTokens', half, `conversations are cut after ${half} tokens`);
  }
  if (train.matrices === 'all' || train.matrices.length > FEW_MATRICES.length) {
    const touched = (phase: string) => phase === 'train' || phase === 'merge';
    trainStep('matrices', FEW_MATRICES, 'only the query and value projections learn', touched);
  }
  if (merge.method === 'sce') {
    found.push({
      path: 'merge.method',
      value: 'linear',
      what: 'the targets are averaged, which needs no dense difference',
      phases: (phase) => phase === 'merge',
      apply: (old) => ({ ...old, merge: { ...old.merge, method: 'linear' } }),
    });
  }
  return found;
}

/** Plans recipes that differ in one step without planning again what the step cannot change. */
class Planner {
  readonly #models: FusionOnPaper;
  readonly #adapter: PlannedAdapter;

  constructor(models: FusionOnPaper, adapter: PlannedAdapter) {
    this.#models = models;
    this.#adapter = adapter;
  }

  whole(recipe: Recipe): Promise<MemoryPlan> {
    return planFusion(recipe, this.#models, this.#adapter);
  }

  after(rung: Rung, recipe: Recipe, before: MemoryPlan): Promise<MemoryPlan> {
    // A plan that ended at a problem lacks the phases behind it.
    const reuse = rung.phases && !before.problem ? { plan: before, phases: rung.phases } : undefined;
    return planFusion(recipe, this.#models, this.#adapter, reuse);
  }
}

/** What single changes would save, largest first; only those that are worth it. */
export async function memorySuggestions(
  recipe: Recipe,
  models: FusionOnPaper,
  adapter: PlannedAdapter,
  plan: MemoryPlan,
): Promise<MemorySuggestion[]> {
  // The longest texts decide what a step saves.
  const { lengths } = models;
  const quick = { ...models, ...(lengths && lengths.length > 1 && { lengths: [Math.max(...lengths)] }) };
  const planner = new Planner(quick, adapter);
  const before = quick.lengths === lengths ? plan : await planner.whole(recipe);
  const found: MemorySuggestion[] = [];
  for (const rung of rungs(recipe)) {
    const after = await planner.after(rung, rung.apply(recipe), before);
    const savesBytes = before.peak.bytes - after.peak.bytes;
    if (after.problem || savesBytes < LEAST_SAVING * plan.peak.bytes) continue;
    const { path, value, what } = rung;
    found.push({ path, value, what, bytes: plan.peak.bytes - savesBytes, savesBytes });
  }
  return found;
}

/**
 * Takes steps, least harm first, until a recipe fits.
 * @param may whether a step may be taken
 */
export async function fitRecipe(
  recipe: Recipe,
  models: FusionOnPaper,
  adapter: PlannedAdapter,
  limitBytes: number,
  may: (step: MemoryStep) => boolean = () => true,
): Promise<FittedRecipe> {
  const planner = new Planner(models, adapter);
  const fits = (plan: MemoryPlan) => plan.problem === undefined && plan.peak.bytes <= limitBytes;
  let state: FittedRecipe = { recipe, plan: await planner.whole(recipe), steps: [], fits: false };
  const tried = new Set<string>();
  while (!fits(state.plan)) {
    const rung = rungs(state.recipe).find((one) => may(one) && !tried.has(keyOf(one)));
    if (!rung) return state;
    tried.add(keyOf(rung));
    const smaller = rung.apply(state.recipe);
    const plan = await planner.after(rung, smaller, state.plan);
    const saves = state.plan.peak.bytes - plan.peak.bytes >= LEAST_SAVING * state.plan.peak.bytes;
    const helps = plan.problem === undefined ? state.plan.problem !== undefined || saves : false;
    if (!helps && !(state.plan.problem && plan.problem)) continue;
    const { path, value, what } = rung;
    // A later step of the same field takes the place of the earlier one.
    const steps = [...state.steps.filter((step) => step.path !== path), { path, value, what }];
    state = { recipe: smaller, plan, steps, fits: false };
    // Another phase may take most now, so that what did not help before can.
    tried.clear();
  }
  return { ...state, fits: true };
}

const keyOf = ({ path, value }: MemoryStep) => `${path}=${String(value)}`;

/** Steps as a person would write them into a recipe. */
export function stepsText(steps: readonly MemoryStep[]): string {
  return steps
    .map(({ path, value, what }) => {
      const text = Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
      return `${path}: ${text} (${what})`;
    })
    .join(', ');
}

/** The sentence for a run that does not fit as it is. */
export function doesNotFit(plan: MemoryPlan, limitBytes: number, smaller: FittedRecipe): AlloyError {
  const limit = formatBytes(limitBytes);
  const need = plan.problem
    ? `This run cannot be done on this adapter: ${plan.problem.replace(/;[^;]*$/u, '')}`
    : `This run would take ${formatBytes(plan.peak.bytes)} on the device (${plan.peak.phase}), but only ${limit} may be used`;
  if (smaller.fits) {
    return new AlloyError(
      'out-of-memory',
      `${need}; it fits with ${formatBytes(smaller.plan.peak.bytes)} when the recipe says ${stepsText(smaller.steps)}. Change it so, or let memory.shrink: true do it.`,
    );
  }
  const least = smaller.plan.problem
    ? 'and nothing that can be changed in the recipe helps'
    : `and even the smallest, with ${stepsText(smaller.steps)}, takes ${formatBytes(smaller.plan.peak.bytes)}, ${formatBytes(smaller.plan.peak.bytes - limitBytes)} too much`;
  return new AlloyError('out-of-memory', `${need}, ${least}; take smaller models or raise the limit.`);
}

/** Steps that change nothing but the rounding of scores, that a recipe leaves to the planner by saying `auto`, and all with `memory.shrink`. */
export function allowedSteps({ train, memory }: Recipe): (step: MemoryStep) => boolean {
  return ({ path }) =>
    memory.shrink ||
    path === 'memory.scoreTokens' ||
    (path === 'train.recompute' && train.recompute === 'auto') ||
    (path === 'train.optimizer' && train.optimizer === 'auto');
}
