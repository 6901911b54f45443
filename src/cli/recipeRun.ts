/** A recipe's place in the file system: where its paths lead, and how a run of it tells what it does. */
import { stat } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import type { Device } from '../device/device.ts';
import { ArtifactStore } from '../pipeline/artifactStore.ts';
import { isHubText } from '../pipeline/hubModels.ts';
import { JobControl } from '../pipeline/jobControl.ts';
import type { ModelOrigin, OpenModel } from '../pipeline/openModel.ts';
import type { RunEvent } from '../pipeline/protocol.ts';
import type { Recipe } from '../pipeline/recipe.ts';
import { readRecipe } from '../pipeline/recipeFile.ts';
import type { RunContext } from '../pipeline/runContext.ts';
import { readNodeFile } from '../storage/nodeStorage.ts';
import type { Storage } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';
import type { CommandContext } from './command.ts';
import { pathFrom } from './paths.ts';
import type { Progress } from './progress.ts';

/** A recipe and the folder that its paths start from. */
export interface PlacedRecipe {
  readonly recipe: Recipe;
  readonly folder: string;
  /** The file, for errors. */
  readonly file: string;
}

/** @throws AlloyError `missing-file`, `bad-argument` for a folder, `bad-recipe` */
export async function readRecipeFile(path: string, shown: string): Promise<PlacedRecipe> {
  const text = await readTextFile(path, shown, 'give the recipe file itself');
  return { recipe: readRecipe(text, shown), folder: dirname(path), file: shown };
}

/** @throws AlloyError `missing-file`, `bad-argument` for a folder, `bad-file` for what is not UTF-8 */
export async function readTextFile(path: string, shown: string, advice: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  if (!info)
    throw new AlloyError('missing-file', `${shown}: there is no such file (${path}); check the path.`);
  if (info.isDirectory()) throw new AlloyError('bad-argument', `${shown} is a folder; ${advice}.`);
  const bytes = await readNodeFile(path, shown);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new AlloyError('bad-file', `${shown} is not UTF-8 text; save it as UTF-8.`, { cause });
  }
}

/** What a run works with. Models of the same name get numbers, so that a report tells them apart. */
export function runContext(
  context: CommandContext,
  device: Device,
  storage: Storage,
  placed: Omit<PlacedRecipe, 'recipe'>,
  control = new JobControl(),
): RunContext {
  return {
    ...planContext(context, placed),
    device,
    store: new ArtifactStore(storage),
    control,
    onEvent: (event) => showEvent(event, context.progress),
  };
}

/** What a plan of a run works with: its models and its data. */
export function planContext(
  { terminal, shelf }: CommandContext,
  { folder, file }: Omit<PlacedRecipe, 'recipe'>,
): Pick<RunContext, 'openModel' | 'readText'> {
  const names = new Map<string, string>();
  return {
    async openModel(reference): Promise<OpenModel> {
      const model = await shelf.open(reference, folder, file);
      const name = uniqueName(model.name, reference, names);
      return name === model.name ? model : { ...model, name };
    },
    readText: (path) =>
      readTextFile(
        pathFrom(folder, path, terminal.environment, file),
        `${file}: ${path}`,
        'name a file of JSON lines',
      ),
  };
}

function uniqueName(name: string, reference: string, names: Map<string, string>): string {
  let unique = name;
  for (let number = 2; (names.get(unique) ?? reference) !== reference; number++)
    unique = `${name} (${number})`;
  names.set(unique, reference);
  return unique;
}

const STAGE_WORDS = {
  represent: 'Reading rows of',
  align: 'Aligning',
  distil: 'Training',
  merge: 'Merging',
  evaluate: 'Evaluating',
} as const;

function showEvent(event: RunEvent, progress: Progress): void {
  switch (event.kind) {
    case 'stage':
      if (event.cached) progress.note(`${STAGE_WORDS[event.stage]} ${event.label}: done before`);
      break;
    case 'progress': {
      const label = `${STAGE_WORDS[event.stage]} ${event.label}`;
      progress.update(label, event.done, event.total, event.secondsLeft);
      break;
    }
    case 'alignment': {
      const { source, coverage, won, conversations } = event.summary;
      const share = `${(100 * coverage).toFixed(1)} % of the positions covered`;
      progress.note(`${source}: ${share}, chosen for ${won} of ${conversations} conversations`);
      break;
    }
    case 'note':
      progress.note(event.text);
      break;
    case 'reopened':
      progress.note(
        'The device was lost; it was opened again, and the run goes on from its last checkpoint.',
      );
      break;
    case 'loss':
    case 'merged':
    case 'report':
    case 'state':
    case 'done':
      break;
    default:
      event satisfies never;
  }
}

/** Stops a run between two steps at Ctrl-C. @returns takes the handler back */
export function stopAtInterrupt({ terminal, progress }: CommandContext, control: JobControl): () => void {
  return terminal.onInterrupt(() => {
    progress.note('Stopping after this step; press Ctrl-C again to stop at once.');
    control.command('stop');
  });
}

/**
 * The recipe with paths that hold from another folder; names of built-in models and paths with variables stay, models of the
 * hub are pinned to the commit that was used.
 */
export async function movedRecipe(
  { recipe, folder }: PlacedRecipe,
  to: string,
  { shelf }: CommandContext,
): Promise<Recipe> {
  const path = (text: string) =>
    text.includes('${') || text.startsWith('/') ? text : relative(to, resolve(folder, text)) || '.';
  const model = async (reference: string) => {
    const origin = shelf.origin(reference);
    if (origin) return origin.reference;
    return isHubText(reference) || (await shelf.isBuiltin(reference)) ? reference : path(reference);
  };
  return {
    ...recipe,
    pivot: await model(recipe.pivot),
    sources: await Promise.all(recipe.sources.map(model)),
    data: {
      ...recipe.data,
      train: recipe.data.train.map(path),
      heldout: recipe.data.heldout.map(path),
    },
  };
}

/** Where the models of the hub that a recipe names came from in this run. */
export function recipeOrigins({ pivot, sources }: Recipe, { shelf }: CommandContext): readonly ModelOrigin[] {
  return [...new Set([pivot, ...sources])].flatMap((reference) => shelf.origin(reference) ?? []);
}
