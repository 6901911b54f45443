import { resolve } from 'node:path';
import { parseRecipe, type Recipe } from '../../pipeline/recipe.ts';
import { remerge } from '../../pipeline/remerge.ts';
import { reportText } from '../../pipeline/reportText.ts';
import { RUN_FILES, writeRun } from '../../pipeline/runFolder.ts';
import { NodeStorage } from '../../storage/nodeStorage.ts';
import { AlloyError } from '../../util/errors.ts';
import { type Command, type CommandContext, UsageError } from '../command.ts';
import { checkOutFolder, stageStorage } from '../outFolder.ts';
import { movedRecipe, recipeOrigins, runContext } from '../recipeRun.ts';

export const merge: Command = {
  name: 'merge',
  summary: "Merge a finished run's targets in another way, without training",
  usage: 'merge RUN [--method sce|linear] [--weights W,W] [--tau X] [--out DIR]',
  help: `RUN is the folder of a finished run. The result is a run's folder too.

  --method M       sce (one weight a matrix and source from the energies, signs elected) or linear
  --weights W,W    linear: one weight a source, in the recipe's order (default: equal ones)
  --tau X          sce: share of the elements that is selected by variance, 0 to 1
  --variant V      sce: fork, paper or upstream
  --out DIR        where the result is written (default RUN-METHOD)
  --store DIR      where evaluations are kept (default DIR/.alloy)
  --no-evaluate    leave the merged model's rows out of the report
`,
  options: {
    method: { type: 'string' },
    weights: { type: 'string' },
    tau: { type: 'string' },
    variant: { type: 'string' },
    out: { type: 'string' },
    store: { type: 'string' },
    'no-evaluate': { type: 'boolean' },
  },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, terminal, shelf } = context;
    const shown = args.word(0);
    const folder = resolve(terminal.folder, shown);
    const run = await shelf.openRun(folder, shown);
    const file = `${shown}/${RUN_FILES.recipe}`;
    const recipe = changedRecipe(context, run.recipe, run.model.parts.deltas.length);
    const out = resolve(terminal.folder, args.text('out') ?? `${folder}-${recipe.merge.method}`);
    if (out === folder) {
      throw new AlloyError(
        'bad-argument',
        '--out is the run itself; give another folder, so that both can be compared.',
      );
    }
    checkOutFolder(out, '--out');
    const stages = stageStorage(context, out);
    const working = runContext(context, await context.device(), stages, { folder, file });
    const made = await remerge(working, recipe, run, !args.flag('no-evaluate'));
    const moved = await movedRecipe({ recipe, folder, file }, out, context);
    const { pivot, deltas: targets } = run.model.parts;
    const origins = recipeOrigins(recipe, context);
    await writeRun(new NodeStorage(out), { ...made, recipe: moved, pivot, targets, sft: run.sft, origins });
    return { json: { folder: out, ...made.report }, text: `${reportText(made.report)}\nWritten to ${out}\n` };
  },
};

function changedRecipe({ args }: CommandContext, recipe: Recipe, sources: number): Recipe {
  const weights = args.numbers('weights');
  const tau = args.number('tau', { most: 1 });
  if (tau !== undefined && tau <= 0)
    throw new UsageError(`--tau is ${tau}; give a number above 0, at most 1`);
  const variant = args.choice('variant', ['fork', 'paper', 'upstream']);
  const method =
    args.choice('method', ['sce', 'linear']) ?? (weights ? 'linear' : (tau ?? variant) ? 'sce' : undefined);
  if (method === undefined) throw new UsageError('give --method sce or --method linear');
  if (method === 'sce' && weights) throw new UsageError('--weights belong to --method linear');
  if (method === 'linear' && (tau !== undefined || variant))
    throw new UsageError('--tau and --variant belong to --method sce');
  if (weights && weights.length !== sources)
    throw new UsageError(
      `--weights has ${weights.length} numbers, but the run has ${sources} sources; give one for each`,
    );
  const changed = {
    ...recipe,
    merge: {
      method,
      ...(tau !== undefined && { tau }),
      ...(variant && { variant }),
      ...(weights && { weights }),
    },
  };
  return parseRecipe(changed, 'alloy merge');
}
