/** Merges a finished run's targets in another way; nothing is trained. */
import { LiveMerge } from '../merge/liveMerge.ts';
import { hashOf } from '../util/hash.ts';
import { type EvaluatedModel, evaluateModels, reportSuites } from './evaluateStage.ts';
import { describeMerge, type MergeFile, recipeMethod } from './mergeFile.ts';
import { loadModel } from './openModel.ts';
import type { Report, ReportRow } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import type { RunContext } from './runContext.ts';
import { loadData } from './runData.ts';
import type { OpenedRun } from './runFolder.ts';

export interface Remerged {
  readonly merge: MergeFile;
  readonly report: Report;
}

/**
 * Merges and evaluates the merged model beside the control; the rows of all other models are the old report's.
 * @param recipe the run's recipe with its merge section changed
 * @param evaluate false leaves the merged rows out, for runs whose data is not at hand
 */
export async function remerge(
  context: RunContext,
  recipe: Recipe,
  run: OpenedRun,
  evaluate: boolean,
): Promise<Remerged> {
  const started = performance.now();
  const { pivot, deltas, merge: old } = run.model.parts;
  const { device } = context;
  const data = evaluate ? await loadData(context, recipe) : undefined;
  const loaded = await loadModel(device, pivot);
  context.onEvent({ kind: 'stage', stage: 'merge', label: recipe.merge.method, cached: false });
  let live: LiveMerge | undefined;
  try {
    live = await LiveMerge.create(device, pivot.config, loaded.weights, deltas, recipeMethod(recipe));
    const merge = await describeMerge(live, pivot, old.sources);
    const report = { ...run.report, recipe, device: device.name };
    if (!data) return { merge, report: { ...report, suites: withoutMerged(run.report.suites) } };
    const name = `merged (${recipe.merge.method})`;
    const norm = await live.norm();
    const fused = live;
    const control = (label: string, scale: (own: number) => number): EvaluatedModel => ({
      name: label,
      role: 'sft',
      model: pivot,
      identity: `control of ${run.model.identity} x ${label}${label === SFT ? '' : ` ${norm}`}`,
      async load() {
        const alone = await LiveMerge.create(device, pivot.config, loaded.weights, [run.sft], {
          kind: 'linear',
        });
        await alone.setMethod({ kind: 'linear', weights: [scale(await alone.norm())] });
        return { config: pivot.config, weights: alone.model, dispose: () => alone.dispose() };
      },
    });
    const scores = await evaluateModels(context, recipe, data.suites, [
      control(SFT, () => 1),
      control(SFT_SCALED, (own) => (own > 0 ? norm / own : 1)),
      {
        name,
        role: 'merged',
        model: pivot,
        identity: await hashOf({ run: run.model.identity, method: recipeMethod(recipe) }),
        load: async () => ({ config: pivot.config, weights: fused.model, dispose: () => undefined }),
      },
    ]);
    const fresh = reportSuites(recipe, data.suites, scores);
    const suites = run.report.suites.map((suite) => {
      const now = fresh.find((one) => one.suite === suite.suite);
      return { ...suite, ...now, rows: joinRows(suite.rows, now?.rows ?? []) };
    });
    const seconds = (performance.now() - started) / 1000;
    return { merge, report: { ...report, suites, seconds, peakBytes: device.stats.peakBytes } };
  } finally {
    live?.dispose();
    loaded.dispose();
  }
}

const SFT = 'SFT-only';
const SFT_SCALED = 'SFT-only, scaled to the merged norm';

function withoutMerged(suites: Report['suites']): Report['suites'] {
  return suites.map((suite) => ({ ...suite, rows: suite.rows.filter(({ role }) => role !== 'merged') }));
}

/** Old rows in their order, those that were evaluated again replaced; new merged rows at the end. */
function joinRows(old: readonly ReportRow[], fresh: readonly ReportRow[]): ReportRow[] {
  const byName = new Map(fresh.map((row) => [row.model, row]));
  const kept = old.filter(({ role }) => role !== 'merged').map((row) => byName.get(row.model) ?? row);
  const names = new Set(kept.map(({ model }) => model));
  return [...kept, ...fresh.filter(({ model }) => !names.has(model))];
}
