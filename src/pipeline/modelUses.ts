import { bucketLength } from '../models/scorer.ts';
import { formatFor, type Precision } from '../models/tensorSource.ts';
import {
  type PhaseMemory,
  type PlannedAdapter,
  type PlannedModel,
  planModel,
  planTraining,
} from './memoryPlan.ts';
import { parseRecipe } from './recipe.ts';

/** How a single model is going to be used. */
export interface ModelUses {
  readonly precision: Precision;
  /** Tokens of a chat. */
  readonly context: number;
  /** Tokens of a conversation that is scored or trained on. */
  readonly tokens: number;
  readonly batch: number;
  readonly rank: number;
  readonly recompute: 'off' | 'light' | 'on';
  readonly optimizer: 'adamw' | 'adamw8bit';
}

/** Plans chatting with a model, scoring with it and training adapters on it, each alone. */
export async function planModelUses(
  inFile: PlannedModel,
  uses: ModelUses,
  adapter: PlannedAdapter,
): Promise<{ readonly phases: readonly PhaseMemory[]; readonly problems: readonly string[] }> {
  const { precision, context, tokens, batch, ...train } = uses;
  const model = { ...inFile, format: (name: string) => formatFor(precision, inFile.format(name)) };
  const data = { train: ['-'], heldout: ['-'] };
  const recipe = parseRecipe(
    { name: 'plan', pivot: '-', sources: ['-'], data, train: { ...train, batch } },
    'plan',
  );
  const lengths = [bucketLength(tokens)];
  const plans = [
    [`chat, ${context} tokens`, await planModel(model, { capacity: context }, adapter)],
    [`score, ${tokens} tokens`, await planModel(model, { score: { lengths, topK: 10 } }, adapter)],
    [
      `train, ${batch} × ${tokens} tokens`,
      await planTraining(model, recipe, { lengths, kept: 10 }, {}, adapter),
    ],
  ] as const;
  return {
    phases: plans.map(([phase, { peak }]) => ({ ...peak, phase })),
    problems: plans.flatMap(([use, { problem }]) => (problem === undefined ? [] : [`${use}: ${problem}`])),
  };
}
