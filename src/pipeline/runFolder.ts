/**
 * The folder of a finished run: `recipe.yaml`, `report.json`, `report.md`, `merge.json`, `models.json` (what came from the
 * hub, to the commit and the hash), one PEFT adapter a source below
 * `targets/`, and the control's below `sft/`. The report is written last, so a folder that has one is complete.
 */
import {
  type LoraMatrix,
  peftConfigFile,
  peftConfigText,
  peftTensorFile,
  readPeft,
  writePeftTensors,
} from '../formats/peft.ts';
import { SafetensorsFile } from '../formats/safetensors.ts';
import type { OpenFile } from '../formats/shardedSafetensors.ts';
import { decoderTensors } from '../models/weights.ts';
import type { Storage } from '../storage/storage.ts';
import { readJson, readText, writeFile } from '../storage/storageHelpers.ts';
import { AlloyError } from '../util/errors.ts';
import { type MergedModel, openMerged } from './mergedModel.ts';
import { type MergeFile, mergeText, parseMergeFile } from './mergeFile.ts';
import type { ModelOrigin, OpenModel } from './openModel.ts';
import type { Report } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import { readRecipe, recipeText } from './recipeFile.ts';
import { reportText } from './reportText.ts';

export const RUN_FILES = {
  recipe: 'recipe.yaml',
  report: 'report.json',
  readable: 'report.md',
  merge: 'merge.json',
  models: 'models.json',
} as const;
const SFT_FOLDER = 'sft';

export interface RunContents {
  /** Paths in it must hold from the run's folder. */
  readonly recipe: Recipe;
  readonly report: Report;
  readonly merge: MergeFile;
  readonly pivot: OpenModel;
  /** In the order of `merge.sources`. */
  readonly targets: readonly (readonly LoraMatrix[])[];
  readonly sft: readonly LoraMatrix[];
  /** Models of the hub that the run was made with. */
  readonly origins?: readonly ModelOrigin[];
}

/** Where the adapters of sources lie in a run's folder: `targets/NAME`, names made fit for files and unique. */
export function adapterFolders(
  sources: readonly { readonly name: string }[],
): { name: string; adapter: string }[] {
  const used = new Set<string>();
  return sources.map(({ name }) => {
    const plain = fileName(name);
    let folder = plain;
    for (let number = 2; used.has(folder); number++) folder = `${plain}-${number}`;
    used.add(folder);
    return { name, adapter: `targets/${folder}` };
  });
}

/** A name that every file system takes. */
export function fileName(name: string): string {
  const plain = name.replace(/[^\w.-]+/gu, '-').replace(/^[-.]+|[-.]+$/gu, '');
  return plain === '' ? 'unnamed' : plain;
}

/** Writes a run, an older one in its place. */
export async function writeRun(storage: Storage, run: RunContents): Promise<void> {
  const { recipe, report, merge, pivot, targets, sft, origins = [] } = run;
  for (const path of [RUN_FILES.report, RUN_FILES.merge, RUN_FILES.models, 'targets', SFT_FOLDER])
    await storage.remove(path);
  for (const [index, { adapter }] of merge.sources.entries())
    await writeAdapter(storage, adapter, pivot, targets[index] ?? []);
  await writeAdapter(storage, SFT_FOLDER, pivot, sft);
  await writeFile(storage, RUN_FILES.recipe, recipeText(recipe));
  await writeFile(storage, RUN_FILES.merge, mergeText(merge));
  if (origins.length > 0)
    await writeFile(
      storage,
      RUN_FILES.models,
      `${JSON.stringify({ version: 1, models: origins }, null, 2)}\n`,
    );
  await writeFile(storage, RUN_FILES.readable, reportText(report));
  await writeFile(storage, RUN_FILES.report, `${JSON.stringify(report, null, 2)}\n`);
}

/** Writes a delta as a PEFT adapter. */
export async function writeAdapter(
  storage: Storage,
  folder: string,
  pivot: OpenModel,
  delta: readonly LoraMatrix[],
): Promise<void> {
  const fanInFanOut = decoderTensors(pivot.config).some(({ conv1d }) => conv1d);
  const adapter = { baseModel: pivot.name, matrices: delta, fanInFanOut };
  const writer = await storage.create(`${folder}/${peftTensorFile}`);
  try {
    await writePeftTensors(writer, adapter);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  await writeFile(
    storage,
    `${folder}/${peftConfigFile}`,
    peftConfigText(adapter, pivot.config.layers.length),
  );
}

/** @throws AlloyError `bad-file` for what is no report: the parts that merging again builds on are looked at */
function parseReport(document: unknown, file: string): Report {
  const report = (typeof document === 'object' ? document : null) as Partial<Report> | null;
  const suites: unknown = report?.suites;
  if (
    Array.isArray(suites) &&
    suites.every((suite) => Array.isArray((suite as { rows?: unknown } | null)?.rows))
  )
    return report as Report;
  throw new AlloyError('bad-file', `${file}: suites is no list of suites with rows; run the fusion again.`);
}

export interface OpenedRun {
  readonly recipe: Recipe;
  readonly report: Report;
  readonly model: MergedModel;
  readonly sft: readonly LoraMatrix[];
}

/**
 * Opens a finished run as a model.
 * @param folder the run's name in errors
 * @param openPivot resolves the recipe's pivot, whose path holds from the run's folder
 * @throws AlloyError `missing-file` for a folder that is no finished run
 */
export async function openRun(
  name: string,
  folder: string,
  open: OpenFile,
  openPivot: (reference: string) => Promise<OpenModel>,
): Promise<OpenedRun> {
  const need = async (file: string) => {
    const source = await open(file);
    if (source) return source;
    throw new AlloyError(
      'missing-file',
      `${folder} has no ${file}: the run is not finished; start it again to go on.`,
    );
  };
  const report = parseReport(await readJson(await need(RUN_FILES.report)), `${folder}/${RUN_FILES.report}`);
  const recipe = readRecipe(await readText(await need(RUN_FILES.recipe)), `${folder}/${RUN_FILES.recipe}`);
  const merge = parseMergeFile(await readJson(await need(RUN_FILES.merge)), `${folder}/${RUN_FILES.merge}`);
  const delta = async (adapter: string): Promise<readonly LoraMatrix[]> => {
    const config = await readJson(await need(`${adapter}/${peftConfigFile}`));
    const tensors = await SafetensorsFile.open(await need(`${adapter}/${peftTensorFile}`));
    return (await readPeft(config, tensors, `${folder}/${adapter}/${peftConfigFile}`)).matrices;
  };
  const deltas: (readonly LoraMatrix[])[] = [];
  for (const { adapter } of merge.sources) deltas.push(await delta(adapter));
  const pivot = await openPivot(recipe.pivot);
  const model = await openMerged(name, { pivot, deltas, merge });
  return { recipe, report, model, sft: await delta(SFT_FOLDER) };
}
