import { join, resolve } from 'node:path';
import { runFusion } from '../../pipeline/fusionRun.ts';
import { JobControl } from '../../pipeline/jobControl.ts';
import { describeMerge } from '../../pipeline/mergeFile.ts';
import type { Report, RunEvent } from '../../pipeline/protocol.ts';
import { reportText } from '../../pipeline/reportText.ts';
import { adapterFolders, fileName, writeRun } from '../../pipeline/runFolder.ts';
import { NodeStorage } from '../../storage/nodeStorage.ts';
import { AlloyError } from '../../util/errors.ts';
import type { Command, CommandContext } from '../command.ts';
import { memoryLimit } from '../memoryOption.ts';
import { checkOutFolder, stageStorage } from '../outFolder.ts';
import { movedRecipe, readRecipeFile, recipeOrigins, runContext, stopAtInterrupt } from '../recipeRun.ts';

export const fuse: Command = {
  name: 'fuse',
  summary: 'Run a recipe: align, distil, merge and evaluate',
  usage: 'fuse RECIPE [--out DIR] [--store DIR] [--memory SIZE]',
  help: `RECIPE is a YAML or JSON file; its paths start from its own folder, and \${NAME} in them is an environment
variable. Finished stages are kept, so a stopped or changed run does only what is missing.

  --out DIR      where the run's folder is written (default runs/NAME)
  --memory SIZE  what it may take on the device, e.g. 1.5GB, instead of memory.limit of the recipe
  --store DIR    where finished stages are kept (default DIR/.alloy); runs may share one
`,
  options: { out: { type: 'string' }, store: { type: 'string' }, memory: { type: 'string' } },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, terminal } = context;
    const path = args.word(0);
    const placed = await readRecipeFile(resolve(terminal.folder, path), path);
    const limit = memoryLimit(args);
    const recipe = Number.isFinite(limit)
      ? { ...placed.recipe, memory: { ...placed.recipe.memory, limit } }
      : placed.recipe;
    const out = resolve(terminal.folder, args.text('out') ?? join('runs', fileName(recipe.name)));
    checkOutFolder(out, '--out');
    const stages = stageStorage(context, out);
    const control = new JobControl();
    const release = stopAtInterrupt(context, control);
    try {
      const run = runContext(context, await context.device(), stages, placed, control);
      let reused = 0;
      const onEvent = (event: RunEvent) => {
        if (event.kind === 'stage' && event.cached) reused++;
        run.onEvent(event);
      };
      const result = await runFusion({ ...run, onEvent }, recipe).catch(async (error) => {
        if (!(error instanceof AlloyError && error.code === 'device-lost')) throw error;
        const device = await context.reopenDevice();
        onEvent({ kind: 'reopened', reason: error.message });
        return runFusion({ ...run, device, onEvent }, recipe);
      });
      const { pivot, sources, targets, sft } = result;
      const merge = await describeMerge(result.merge, pivot, adapterFolders(sources));
      const moved = await movedRecipe(placed, out, context);
      const report = { ...result.report, recipe, ...(reused > 0 && { reused }) };
      const origins = recipeOrigins(recipe, context);
      await writeRun(new NodeStorage(out), { recipe: moved, report, merge, pivot, targets, sft, origins });
      result.merge.dispose();
      result.loadedPivot.dispose();
      return { json: { folder: out, ...report }, text: finished(report, out, context) };
    } finally {
      release();
    }
  },
};

function finished(report: Report, out: string, { terminal }: CommandContext): string {
  const shown = out.startsWith(`${terminal.folder}/`) ? out.slice(terminal.folder.length + 1) : out;
  return `${reportText(report)}\nWritten to ${shown}; talk with it: alloy chat ${shown}\n`;
}
