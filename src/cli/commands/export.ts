import { resolve } from 'node:path';
import { type ExportCheck, type ExportDType, exportModel, verifyExport } from '../../pipeline/exportModel.ts';
import { JobControl } from '../../pipeline/jobControl.ts';
import { isMerged } from '../../pipeline/mergedModel.ts';
import { writeAdapter } from '../../pipeline/runFolder.ts';
import { NodeStorage } from '../../storage/nodeStorage.ts';
import { AlloyError } from '../../util/errors.ts';
import { TimeLeft } from '../../util/timeLeft.ts';
import { type Command, type CommandContext, type CommandResult, UsageError } from '../command.ts';
import { checkOutFolder } from '../outFolder.ts';
import { stopAtInterrupt } from '../recipeRun.ts';

export const exportCommand: Command = {
  name: 'export',
  summary: "Write a run's merged model or its adapters for other programs",
  usage: 'export RUN --out DIR [--what merged|adapter] [--dtype f32|f16|bf16]',
  help: `RUN is the folder of a finished run; with --what merged any model can be written.

  --out DIR        where to write
  --what merged    a Hugging Face folder with the fused weights (default)
  --what adapter   one PEFT adapter a source, and that of SFT-only
  --dtype D        numbers of the fused weights: f32 (default), f16 or bf16
`,
  options: { out: { type: 'string' }, what: { type: 'string' }, dtype: { type: 'string' } },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, terminal } = context;
    const out = args.text('out');
    if (out === undefined) throw new UsageError('--out is missing; use it as: alloy export RUN --out DIR');
    const what = args.choice('what', ['merged', 'adapter']) ?? 'merged';
    const dtype = args.choice('dtype', ['f32', 'f16', 'bf16']) ?? 'f32';
    const folder = resolve(terminal.folder, out);
    checkOutFolder(folder, '--out');
    if (resolve(terminal.folder, args.word(0)) === folder)
      throw new AlloyError('bad-argument', '--out is the model itself; give another folder.');
    const storage = new NodeStorage(folder);
    return what === 'adapter' ? exportAdapters(context, storage) : exportMerged(context, storage, dtype);
  },
};

async function exportAdapters(
  { args, terminal, shelf }: CommandContext,
  storage: NodeStorage,
): Promise<CommandResult> {
  const run = await shelf.openRun(resolve(terminal.folder, args.word(0)), args.word(0));
  const { pivot, deltas, merge } = run.model.parts;
  const folders: string[] = [];
  for (const [index, { adapter }] of merge.sources.entries()) {
    const name = adapter.replace(/^targets\//u, '');
    await writeAdapter(storage, name, pivot, deltas[index] ?? []);
    folders.push(name);
  }
  await writeAdapter(storage, 'sft', pivot, run.sft);
  folders.push('sft');
  return {
    json: { what: 'adapter', folder: storage.root, base: pivot.name, adapters: folders },
    text: `Wrote ${folders.length} PEFT adapters for ${pivot.name} to ${storage.root}: ${folders.join(', ')}`,
  };
}

async function exportMerged(
  context: CommandContext,
  storage: NodeStorage,
  dtype: ExportDType,
): Promise<CommandResult> {
  const { args, terminal, shelf, progress } = context;
  const model = await shelf.open(args.word(0), terminal.folder, 'RUN');
  const control = new JobControl();
  const release = stopAtInterrupt(context, control);
  try {
    let clock: TimeLeft | undefined;
    const { files, missing } = await exportModel(model, dtype, storage, {
      onProgress(done, total) {
        clock ??= new TimeLeft(total);
        progress.update(`Writing ${model.name}`, done, total, clock.update(done));
      },
      checkpoint: () => control.checkpoint(),
    });
    const check = await verify(context, () =>
      context.device().then((device) => verifyExport(device, model, dtype, storage)),
    );
    const lacking =
      missing.length > 0
        ? ` There was no ${missing.join(', ')} to copy: put that of the original model beside them.`
        : '';
    return {
      json: {
        what: 'merged',
        folder: storage.root,
        dtype,
        files,
        missing,
        verified: check !== undefined,
        ...(check && { check }),
      },
      text: `Wrote ${isMerged(model) ? 'the fused model' : model.name} to ${storage.root}: ${files.join(', ')}.${lacking}\n${verdict(check)}`,
    };
  } finally {
    release();
  }
}

/** Writing needs no device, so a machine without one only goes without the comparison. */
async function verify(
  { progress }: CommandContext,
  run: () => Promise<ExportCheck>,
): Promise<ExportCheck | undefined> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof AlloyError && error.code === 'no-webgpu')) throw error;
    progress.note(`Not verified: ${error.message}`);
    return undefined;
  }
}

function verdict(check: ExportCheck | undefined): string {
  if (!check) return 'Not verified.';
  const { difference, positions, tolerance } = check;
  return `Verified: read back, its next-token probabilities at ${positions} positions differ by at most ${difference.toExponential(1)} (allowed ${tolerance}).`;
}
