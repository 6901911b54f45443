/**
 * A whole fusion, stage by stage: represent → align → distil → merge → evaluate. Every stage's result is kept in the
 * artifact store under the hash of what it was made from, so a stage whose inputs did not change is not run again and a
 * killed run goes on where it was.
 */
import type { Representation } from '../align/representation.ts';
import type { ConversationTargets } from '../distill/fusedTargets.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { LiveMerge } from '../merge/liveMerge.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { AlloyError, required } from '../util/errors.ts';
import { alignSource } from './alignStage.ts';
import { distilTarget } from './distilStage.ts';
import { type EvaluatedModel, evaluateModels, reportSuites } from './evaluateStage.ts';
import { fusionOnPaper, guardMemory, withSmallerPlan } from './memoryGuard.ts';
import { recipeMethod } from './mergeFile.ts';
import { loadModel, type OpenModel } from './openModel.ts';
import type { AlignmentSummary, Conversation, Report } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import { hashConversations, represent } from './represent.ts';
import type { RunContext } from './runContext.ts';
import { type LoadedData, loadData } from './runData.ts';

/** What a finished run leaves in memory: the report, and the merge to chat with and to change. */
export interface FusionResult {
  readonly report: Report;
  readonly pivot: OpenModel;
  readonly loadedPivot: LoadedModel;
  readonly sources: readonly OpenModel[];
  /** One delta a source, in the recipe's order. */
  readonly targets: readonly (readonly LoraMatrix[])[];
  readonly sft: readonly LoraMatrix[];
  readonly merge: LiveMerge;
}

/** Runs what is missing of a recipe. @throws AlloyError `cancelled` when stopped; finished stages are kept */
export async function runFusion(given: RunContext, asked: Recipe): Promise<FusionResult> {
  const started = performance.now();
  const data = await loadData(given, asked);
  const openedPivot = await given.openModel(asked.pivot);
  checkPivot(openedPivot);
  const openedSources: OpenModel[] = [];
  for (const reference of asked.sources) openedSources.push(await given.openModel(reference));
  const paper = fusionOnPaper(openedPivot, openedSources, data, asked.train.maxTokens);
  const recipe = await guardMemory(given, asked, paper);
  const context = { ...given, scoreTokens: recipe.memory.scoreTokens };
  const pivot = inPrecision(openedPivot, recipe);
  const sources = openedSources.map((source) => inPrecision(source, recipe));
  const { precision } = recipe;
  const orSmaller = (error: unknown) => withSmallerPlan(error, context, recipe, paper);
  const loadedPivot = await loadModel(context.device, pivot, { precision }).catch(async (error) => {
    throw await orSmaller(error);
  });
  try {
    const result = await fuse(context, recipe, data, pivot, sources, loadedPivot);
    const report: Report = {
      ...result.report,
      recipe: told(asked, recipe),
      seconds: (performance.now() - started) / 1000,
      peakBytes: context.device.stats.peakBytes,
    };
    context.onEvent({ kind: 'report', report });
    context.onEvent({ kind: 'done' });
    return { ...result, report };
  } catch (error) {
    loadedPivot.dispose();
    throw await orSmaller(error);
  }
}

/** The recipe as it was run, but for what the planner has chosen without any change of the numbers. */
function told(asked: Recipe, run: Recipe): Recipe {
  return { ...run, memory: asked.memory, train: { ...run.train, recompute: asked.train.recompute } };
}

/** A model whose weights are converted computes something else: its artifacts are its own. */
function inPrecision(model: OpenModel, { precision }: Recipe): OpenModel {
  if (precision === 'file' || model.onnx) return model;
  return { ...model, identity: `${model.identity} in ${precision}` };
}

/** @throws AlloyError `bad-recipe` for a model that cannot be trained */
function checkPivot({ name, onnx }: OpenModel): void {
  if (onnx === undefined) return;
  throw new AlloyError(
    'bad-recipe',
    `pivot: ${name} is an ONNX model (${onnx.file}), a frozen source only; take a pivot with safetensors or a GGUF file.`,
  );
}

async function fuse(
  context: RunContext,
  recipe: Recipe,
  data: LoadedData,
  pivot: OpenModel,
  sources: readonly OpenModel[],
  loadedPivot: LoadedModel,
): Promise<FusionResult> {
  const options = { topK: recipe.represent.topK, maxTokens: recipe.train.maxTokens };
  const rows = (model: OpenModel, load: () => Promise<LoadedModel>) =>
    represent(context, model, load, data.train, options, model.name);

  const ownRows = await rows(pivot, async () => loadedPivot);
  const scores = await evaluateModels(context, recipe, data.suites, [
    {
      name: pivot.name,
      role: 'pivot',
      model: pivot,
      identity: pivot.identity,
      load: async () => loadedPivot,
    },
  ]);
  const summaries: AlignmentSummary[] = [];
  const lessons: (readonly ConversationTargets[])[] = [];
  for (const source of sources) {
    const lazy = lazyModel(() => loadModel(context.device, source, { precision: recipe.precision }));
    try {
      const sourceRows = await rows(source, lazy.get);
      scores.push(
        ...(await evaluateModels(context, recipe, data.suites, [
          { name: source.name, role: 'source', model: source, identity: source.identity, load: lazy.get },
        ])),
      );
      const { targets, summary } = await alignSource(context, recipe, { pivot, ownRows, source, sourceRows });
      lessons.push(targets);
      summaries.push(summary);
    } finally {
      await lazy.dispose();
    }
  }
  const trained = await distilAll(context, recipe, data.train, {
    pivot,
    loadedPivot,
    ownRows,
    sources,
    lessons,
  });
  const { merge, models } = await mergedModels(context, recipe, { pivot, loadedPivot, sources, ...trained });
  try {
    scores.push(...(await evaluateModels(context, recipe, data.suites, models)));
    await merge.setMethod(recipeMethod(recipe));
  } catch (error) {
    merge.dispose();
    throw error;
  }
  const report: Report = {
    recipe,
    suites: reportSuites(recipe, data.suites, scores),
    seconds: 0,
    device: context.device.name,
    alignment: summaries,
    peakBytes: 0,
  };
  return {
    report,
    pivot,
    loadedPivot,
    sources,
    targets: trained.targets.map(({ delta }) => delta),
    sft: trained.sft.delta,
    merge,
  };
}

interface Trained {
  readonly delta: readonly LoraMatrix[];
  /** Key of its artifact. */
  readonly key: string;
}

/** The control (SFT-only) first, then one target a source. */
async function distilAll(
  context: RunContext,
  recipe: Recipe,
  train: readonly Conversation[],
  parts: {
    readonly pivot: OpenModel;
    readonly loadedPivot: LoadedModel;
    readonly ownRows: readonly Representation[];
    readonly sources: readonly OpenModel[];
    readonly lessons: readonly (readonly ConversationTargets[])[];
  },
): Promise<{ sft: Trained; targets: Trained[] }> {
  const { pivot, loadedPivot, ownRows, sources, lessons } = parts;
  const data = await hashConversations(train);
  const common = { context, recipe, pivot, weights: loadedPivot.weights, data };
  const sft = await distilTarget(
    common,
    'sft',
    ownRows.map((row) => ({ pivot: row, targets: undefined })),
    undefined,
  );
  const targets: Trained[] = [];
  for (const [index, source] of sources.entries()) {
    const rows = required(lessons[index], 'lessons');
    const joined = ownRows.map((row, at) => ({ pivot: row, targets: rows[at] }));
    targets.push(await distilTarget(common, source.name, joined, source.identity));
  }
  return { sft, targets };
}

/** All models that came out of training, to be evaluated one after the other. */
async function mergedModels(
  context: RunContext,
  recipe: Recipe,
  parts: {
    readonly pivot: OpenModel;
    readonly loadedPivot: LoadedModel;
    readonly sources: readonly OpenModel[];
    readonly sft: Trained;
    readonly targets: readonly Trained[];
  },
): Promise<{ merge: LiveMerge; models: EvaluatedModel[] }> {
  const { pivot, loadedPivot, sources, sft, targets } = parts;
  const { device } = context;
  context.onEvent({ kind: 'stage', stage: 'merge', label: recipe.merge.method, cached: false });
  const create = (deltas: readonly (readonly LoraMatrix[])[]) =>
    LiveMerge.create(device, pivot.config, loadedPivot.weights, deltas, { kind: 'linear' });
  const merge = await create(targets.map(({ delta }) => delta));
  const methods = [
    recipeMethod(recipe),
    ...(recipe.merge.method === 'sce' ? [{ kind: 'linear' } as const] : [SCE_DEFAULT]),
  ];
  await merge.setMethod(methods[0] ?? { kind: 'linear' });
  const norm = await merge.norm();
  context.onEvent({ kind: 'merged' });

  const single = (
    name: string,
    role: 'sft' | 'target',
    trained: Trained,
    scale: (norm: number) => number,
  ): EvaluatedModel => ({
    name,
    role,
    model: pivot,
    identity: `${trained.key} x ${name}`,
    async load() {
      const alone = await create([trained.delta]);
      const weight = scale(await alone.norm());
      await alone.setMethod({ kind: 'linear', weights: [weight] });
      return { config: pivot.config, weights: alone.model, dispose: () => alone.dispose() };
    },
  });
  const keys = targets.map(({ key }) => key);
  const merged = methods.map(
    (method, index): EvaluatedModel => ({
      name: `merged (${method.kind})`,
      role: 'merged',
      model: pivot,
      optional: index > 0,
      identity: JSON.stringify({ keys, method }),
      async load() {
        await merge.setMethod(method);
        return { config: pivot.config, weights: merge.model, dispose: () => undefined };
      },
    }),
  );
  return {
    merge,
    models: [
      single('SFT-only', 'sft', sft, () => 1),
      single('SFT-only, scaled to the merged norm', 'sft', sft, (own) => (own > 0 ? norm / own : 1)),
      ...targets.map((target, index) =>
        single(`target of ${sources[index]?.name}`, 'target', target, () => 1),
      ),
      ...merged,
    ],
  };
}

const SCE_DEFAULT = { kind: 'sce', variant: 'fork', tau: 1 } as const;

/** Loads a model when it is first asked for. */
function lazyModel(load: () => Promise<LoadedModel>): {
  get: () => Promise<LoadedModel>;
  dispose: () => Promise<void>;
} {
  let loading: Promise<LoadedModel> | undefined;
  return {
    get() {
      loading ??= load();
      return loading;
    },
    async dispose() {
      (await loading)?.dispose();
    },
  };
}
