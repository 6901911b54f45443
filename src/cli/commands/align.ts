import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { alignSource } from '../../pipeline/alignStage.ts';
import { loadAny } from '../../pipeline/mergedModel.ts';
import type { OpenModel } from '../../pipeline/openModel.ts';
import type { AlignmentSummary } from '../../pipeline/protocol.ts';
import { parseRecipe, type Recipe } from '../../pipeline/recipe.ts';
import { represent } from '../../pipeline/represent.ts';
import type { RunContext } from '../../pipeline/runContext.ts';
import { loadData } from '../../pipeline/runData.ts';
import { MemoryStorage } from '../../storage/memoryStorage.ts';
import { AlloyError } from '../../util/errors.ts';
import type { Command, CommandContext } from '../command.ts';
import { stageStorage } from '../outFolder.ts';
import { type PlacedRecipe, readRecipeFile, runContext } from '../recipeRun.ts';
import { textTable } from '../table.ts';

/** Conversations where nobody says how many. */
const LIMIT = 64;
const SAMPLE = resolve(import.meta.dirname, '../../../recipes/sample.yaml');

export const align: Command = {
  name: 'align',
  summary: "See how a source's rows line up with the pivot's tokens",
  usage: 'align PIVOT SOURCE [--data F] [--limit N]',
  help: `PIVOT and SOURCE are models.

  --data F           conversations, JSON lines (default: held-out ones of the built-in sample)
  --limit N          at most so many of them, chosen by the seed (default ${LIMIT})
  --top K            entries kept of every row (default 10)
  --max-tokens N     longer conversations are cut (default 512)
  --minimum-mass X   rows that lose more of their mass are left out (default 0.5)
  --loss tail|renormalised   what the rows are for: it decides how tokens are mapped (default tail)
  --seed N           of the choice of conversations (default 42)
  --store DIR        keep rows there, and use those that are there
`,
  options: {
    data: { type: 'string' },
    limit: { type: 'string' },
    top: { type: 'string' },
    'max-tokens': { type: 'string' },
    'minimum-mass': { type: 'string' },
    loss: { type: 'string' },
    seed: { type: 'string' },
    store: { type: 'string' },
  },
  opensDevice: true,
  words: [2, 2],
  async run(context) {
    const { args, terminal } = context;
    const placed = await alignRecipe(context);
    const { recipe } = placed;
    const pivot = await context.shelf.open(recipe.pivot, terminal.folder, 'PIVOT');
    const source = await context.shelf.open(args.word(1), terminal.folder, 'SOURCE');
    const storage = args.text('store') === undefined ? new MemoryStorage() : stageStorage(context, '');
    const dataContext = { terminal, ...placed };
    const run = runContext(context, await context.device(), storage, dataContext);
    const data = (await loadData(run, recipe)).train;
    const rows = async (model: OpenModel) => rowsOf(run, recipe, model, data);
    const ownRows = await rows(pivot);
    const sourceRows = await rows(source);
    const { targets, summary } = await alignSource(run, recipe, { pivot, ownRows, source, sourceRows });
    const conversations = targets.map(({ id, chosen, nllPerByte }) => ({ id, chosen, nllPerByte }));
    return {
      json: { pivot: pivot.name, ...summary, chosen: conversations },
      text: summaryText(pivot.name, summary),
    };
  },
};

/** The command's options as a recipe, with data paths that hold from the folder. */
async function alignRecipe({ args, terminal }: CommandContext): Promise<PlacedRecipe> {
  const data = args.text('data');
  const sample = data === undefined ? await sampleData() : undefined;
  const files = data === undefined ? sample?.recipe.data.heldout : [data];
  const loss = args.choice('loss', ['tail', 'renormalised']);
  const recipe = parseRecipe(
    {
      name: 'align',
      pivot: args.word(0),
      sources: [args.word(1)],
      seed: args.number('seed', { least: 0, whole: true }),
      data: { train: files, heldout: files, limit: args.number('limit', { least: 1, whole: true }) ?? LIMIT },
      represent: { topK: args.number('top', { least: 1, most: 64, whole: true }) },
      align: { minimumMass: args.number('minimum-mass', { least: 0, most: 1 }) },
      fuse: { loss },
      train: { maxTokens: args.number('max-tokens', { least: 8, whole: true }) },
    },
    'alloy align',
  );
  return { recipe, folder: sample?.folder ?? terminal.folder, file: sample?.file ?? '--data' };
}

async function sampleData(): Promise<PlacedRecipe> {
  if (existsSync(SAMPLE)) return readRecipeFile(SAMPLE, SAMPLE);
  throw new AlloyError('bad-argument', 'There is no built-in data here; name conversations with --data F.');
}

async function rowsOf(
  run: RunContext,
  recipe: Recipe,
  model: OpenModel,
  data: Parameters<typeof represent>[3],
) {
  const options = { topK: recipe.represent.topK, maxTokens: recipe.train.maxTokens };
  let loading: ReturnType<typeof loadAny> | undefined;
  const load = () => {
    loading ??= loadAny(run.device, model);
    return loading;
  };
  try {
    return await represent(run, model, load, data, options, model.name);
  } finally {
    (await loading)?.dispose();
  }
}

const REASONS = {
  paired: 'have a row of the source',
  'inside-source-token': 'lie inside a token of the source',
  'low-mass': 'lost too much mass on the way to the pivot',
  'past-end': 'lie behind the end of what the source read',
} as const;

function summaryText(pivot: string, summary: AlignmentSummary): string {
  const { source, coverage, reasons, mapping, won, conversations, tokensPerByte } = summary;
  const scored = Object.keys(REASONS).reduce((sum, key) => sum + reasons[key as keyof typeof REASONS], 0);
  const share = (part: number, all: number) => (all > 0 ? `${((100 * part) / all).toFixed(1)} %` : '–');
  const reasonRows = (Object.entries(REASONS) as [keyof typeof REASONS, string][]).map(([key, words]) => [
    share(reasons[key], scored),
    String(reasons[key]),
    words,
  ]);
  const mapRows = Object.entries(mapping).map(([rule, mass]) => [share(mass, 1), rule]);
  const low =
    coverage < 0.6 ? '\nThis is little: most of what the source knows would not reach the pivot.' : '';
  return [
    `${source} beside the pivot ${pivot}: ${share(coverage, 1)} of ${scored} positions covered.${low}`,
    '',
    textTable(['share', 'positions', 'which'], reasonRows, [0, 1]),
    '',
    "How the probability of the source's rows reaches the pivot's vocabulary:",
    textTable(['share', 'rule'], mapRows, [0]),
    '',
    `Tokens per byte: ${tokensPerByte.pivot.toFixed(3)} (pivot), ${tokensPerByte.source.toFixed(3)} (source).`,
    `MinCE chooses the source for ${won} of ${conversations} conversations.`,
  ].join('\n');
}
