import { resolve } from 'node:path';
import type { MemoryKind } from '../../device/memoryLedger.ts';
import {
  allowedSteps,
  type FittedRecipe,
  fitRecipe,
  type MemorySuggestion,
  memorySuggestions,
  stepsText,
} from '../../pipeline/memoryAdvice.ts';
import { fusionOnPaper } from '../../pipeline/memoryGuard.ts';
import {
  type MemoryPlan,
  type PhaseMemory,
  type PlannedAdapter,
  type PlannedModel,
  planFusion,
} from '../../pipeline/memoryPlan.ts';
import { planModelUses } from '../../pipeline/modelUses.ts';
import type { OpenModel } from '../../pipeline/openModel.ts';
import { loadData } from '../../pipeline/runData.ts';
import { formatBytes, parseBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';
import type { Command, CommandContext, CommandResult } from '../command.ts';
import { planContext, readRecipeFile } from '../recipeRun.ts';
import { textTable } from '../table.ts';

const PRECISIONS = ['file', 'f32', 'f16', 'q8', 'q4'] as const;

export const plan: Command = {
  name: 'plan',
  summary: 'What a run or a model will take on the device, before anything is loaded',
  usage: 'plan (RECIPE | MODEL) [--memory SIZE] [OPTIONS]',
  help: `RECIPE (.yaml, .yml, .json): every phase of the run, and what would make it smaller by how much.
MODEL: chatting, scoring and training with it. Its config.json is enough: of a folder without weights, of a model of the
hub that was not downloaded, or by itself.

  --memory SIZE     what may be used, e.g. 1.5GB; says what makes it fit, least harm first

Of a model:
  --precision P     how its weights lie on the device: ${PRECISIONS.join(', ')} (default file)
  --context N       tokens of a chat (default 2048)
  --tokens N        tokens of a conversation that is scored or trained on (default 512)
  --batch N         conversations that are trained on at once (default 1)
  --rank N          rank of the adapters (default 16)
  --recompute R     off, light or on (default off)
  --optimizer O     adamw or adamw8bit (default adamw)
`,
  options: {
    memory: { type: 'string' },
    precision: { type: 'string' },
    context: { type: 'string' },
    tokens: { type: 'string' },
    batch: { type: 'string' },
    rank: { type: 'string' },
    recompute: { type: 'string' },
    optimizer: { type: 'string' },
  },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, terminal, shelf } = context;
    const word = args.word(0);
    const memory = args.text('memory');
    const adapter = await adapterOf(context);
    const asked = memory === undefined ? undefined : parseBytes(memory, '--memory');
    const total = adapter.limits?.totalBytes ?? Number.POSITIVE_INFINITY;
    const limit = Number.isFinite(total) ? Math.min(total, asked ?? total) : asked;
    if (/\.(ya?ml|json)$/iu.test(word) && !/(?:^|[\\/])config\.json$/iu.test(word))
      return planRecipe(context, word, adapter, limit);
    return planOfModel(context, await shelf.planned(word, terminal.folder, 'MODEL'), adapter, limit);
  },
};

/** The device at hand, or none: then what most adapters allow. */
async function adapterOf(context: CommandContext): Promise<PlannedAdapter> {
  try {
    return await context.device();
  } catch (error) {
    if (error instanceof AlloyError && error.code === 'no-webgpu') return {};
    throw error;
  }
}

async function planRecipe(
  context: CommandContext,
  path: string,
  adapter: PlannedAdapter,
  memory: number | undefined,
): Promise<CommandResult> {
  const placed = await readRecipeFile(resolve(context.terminal.folder, path), path);
  const { recipe } = placed;
  const run = planContext(context, placed);
  const data = await loadData(run, recipe);
  const pivot = await run.openModel(recipe.pivot);
  const sources: OpenModel[] = [];
  for (const reference of recipe.sources) sources.push(await run.openModel(reference));
  const models = fusionOnPaper(pivot, sources, data, recipe.train.maxTokens);
  const asIs = await planFusion(recipe, models, adapter);
  const suggestions = await memorySuggestions(recipe, models, adapter, asIs);
  const limits = [memory, recipe.memory.limit].filter((one) => one !== undefined);
  const limit = limits.length > 0 ? Math.min(...limits) : undefined;
  const itself =
    limit === undefined ? undefined : await fitRecipe(recipe, models, adapter, limit, allowedSteps(recipe));
  const fitted =
    itself && !itself.fits && limit !== undefined ? await fitRecipe(recipe, models, adapter, limit) : itself;
  return {
    json: {
      peakBytes: asIs.peak.bytes,
      phases: asIs.phases,
      ...(asIs.problem !== undefined && { problem: asIs.problem }),
      suggestions,
      ...(limit !== undefined && { limitBytes: limit, fits: fits(asIs, limit) }),
      ...(fitted && {
        fitted: { fits: fitted.fits, bytes: fitted.plan.peak.bytes, steps: fitted.steps },
      }),
    },
    text: [
      phaseTable(asIs.phases),
      asIs.problem === undefined ? undefined : `As it is it cannot be run here: ${asIs.problem}`,
      suggestionText(suggestions),
      limit === undefined ? undefined : limitText(asIs, limit, fitted),
    ]
      .filter((part) => part !== undefined && part !== '')
      .join('\n\n'),
  };
}

const fits = ({ peak, problem }: MemoryPlan, limit: number) => problem === undefined && peak.bytes <= limit;

function suggestionText(suggestions: readonly MemorySuggestion[]): string {
  if (suggestions.length === 0) return '';
  const rows = suggestions.map(({ path, value, what, bytes, savesBytes }) => [
    `${path}: ${Array.isArray(value) ? `[${value.join(', ')}]` : String(value)}`,
    formatBytes(savesBytes),
    formatBytes(bytes),
    what,
  ]);
  return textTable(['to make it smaller', 'saves', 'then', ''], rows, [1, 2]);
}

function limitText(asIs: MemoryPlan, limit: number, fitted: FittedRecipe | undefined): string {
  const allowed = formatBytes(limit);
  if (fits(asIs, limit)) return `It fits into ${allowed}.`;
  if (!fitted) return '';
  const { bytes } = fitted.plan.peak;
  if (fitted.fits)
    return `It fits into ${allowed}, with ${formatBytes(bytes)}, by ${stepsText(fitted.steps)}.`;
  return `It does not fit into ${allowed}: the smallest, by ${stepsText(fitted.steps)}, takes ${formatBytes(bytes)}, ${formatBytes(bytes - limit)} too much.`;
}

async function planOfModel(
  { args }: CommandContext,
  model: PlannedModel,
  adapter: PlannedAdapter,
  limit: number | undefined,
): Promise<CommandResult> {
  const precision = args.choice('precision', PRECISIONS) ?? 'file';
  const whole = (name: string, otherwise: number) =>
    args.number(name, { least: 1, whole: true }) ?? otherwise;
  const uses = {
    precision,
    context: whole('context', 2048),
    tokens: whole('tokens', 512),
    batch: whole('batch', 1),
    rank: whole('rank', 16),
    recompute: args.choice('recompute', ['off', 'light', 'on']) ?? 'off',
    optimizer: args.choice('optimizer', ['adamw', 'adamw8bit']) ?? 'adamw',
  };
  const { phases, problems } = await planModelUses(model, uses, adapter);
  const over =
    limit === undefined ? [] : phases.filter(({ bytes }) => bytes > limit).map(({ phase }) => phase);
  const verdict = over.length === 0 ? 'All of it fits' : `Too much for ${over.join('; ')}`;
  return {
    json: {
      model: model.name,
      precision,
      uses: phases,
      problems,
      ...(limit !== undefined && { limitBytes: limit, over }),
    },
    text: [
      phaseTable(phases, 'use'),
      ...problems,
      ...(limit === undefined ? [] : [`${verdict} (${formatBytes(limit)}).`]),
    ].join('\n\n'),
  };
}

/** Phases below each other, what the memory is for side by side. */
function phaseTable(phases: readonly PhaseMemory[], what = 'phase'): string {
  const [first] = phases;
  const all = Object.keys(first?.parts ?? {}) as MemoryKind[];
  const kinds = all.filter((kind) => phases.some(({ parts }) => parts[kind] > 0));
  const cell = (phase: PhaseMemory, kind: MemoryKind) =>
    phase.parts[kind] > 0 ? formatBytes(phase.parts[kind]) : '–';
  const rows = phases.map((phase) => [
    phase.phase,
    formatBytes(phase.bytes),
    ...kinds.map((kind) => cell(phase, kind)),
  ]);
  return textTable([what, 'all', ...kinds], rows, [1, ...kinds.map((_, index) => index + 2)]);
}
