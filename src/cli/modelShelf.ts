import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { z } from 'zod';
import { plannedConfig } from '../pipeline/configAlone.ts';
import { isHubText } from '../pipeline/hubModels.ts';
import { plannedModel } from '../pipeline/memoryGuard.ts';
import type { PlannedModel } from '../pipeline/memoryPlan.ts';
import { type ModelOrigin, type OpenModel, openFolder, openGguf, readJson } from '../pipeline/openModel.ts';
import { type OpenedRun, openRun, RUN_FILES } from '../pipeline/runFolder.ts';
import { nodeFileSource, sha256OfFile } from '../storage/nodeStorage.ts';
import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import { fieldProblems } from '../util/schemaIssue.ts';
import type { HubShelf } from './hub.ts';
import { statOrNothing } from './outFolder.ts';
import { expandVariables } from './paths.ts';

const cardSchema = z.looseObject({
  name: z.string(),
  title: z.string(),
  role: z.string(),
  file: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  parameters: z.number(),
  family: z.string(),
  vocab: z.number(),
  context: z.number(),
  knows: z.array(z.string()),
  scores: z.record(z.string(), z.number()),
  licence: z.string(),
});

/** One of the models that come with Alloy, as its index describes it. */
export type BuiltinModel = z.infer<typeof cardSchema>;

/** Where the models that come with Alloy lie. */
export const BUILTIN_FOLDER = resolve(import.meta.dirname, '../../public/models');

const CONFIG = 'config.json';
/** What tells that a folder has its weights. */
const WEIGHTS = /^(?:onnx|.*\.safetensors(?:\.index\.json)?|.*\.onnx)$/iu;

interface ShelfOptions {
  readonly builtinFolder?: string | undefined;
  /** Gives models of the hub. */
  readonly hub?: () => HubShelf;
}

/** Finds models: of the hub, built in, Hugging Face folders, GGUF files, finished runs. */
export class ModelShelf {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #builtinFolder: string;
  readonly #hub: ShelfOptions['hub'];
  /** Of models of the hub that were opened, the reference that names exactly them. */
  readonly #pins = new Map<string, ModelOrigin>();
  #builtin: Promise<readonly BuiltinModel[]> | undefined;

  constructor(environment: NodeJS.ProcessEnv, { builtinFolder, hub }: ShelfOptions = {}) {
    this.#environment = environment;
    this.#builtinFolder = builtinFolder ?? BUILTIN_FOLDER;
    this.#hub = hub;
  }

  /** @throws AlloyError `bad-file` for a damaged index */
  builtin(): Promise<readonly BuiltinModel[]> {
    this.#builtin ??= readIndex(join(this.#builtinFolder, 'index.json'));
    return this.#builtin;
  }

  /** Whether a reference is the name of a built-in model. */
  async isBuiltin(reference: string): Promise<boolean> {
    return (await this.builtin()).some(({ name }) => name === reference);
  }

  /**
   * Opens a model.
   * @param folder that relative paths start from
   * @param what the file or argument that names the model, for errors
   * @throws AlloyError `missing-file`, `bad-argument`, `bad-file`, `unsupported`
   */
  open(reference: string, folder: string, what: string): Promise<OpenModel> {
    return this.#open(reference, folder, what, []);
  }

  /** @param runs folders of the runs whose pivot this is, outermost first */
  async #open(reference: string, folder: string, what: string, runs: readonly string[]): Promise<OpenModel> {
    if (reference === '')
      throw new AlloyError('bad-argument', `${what} is empty; give a model's name, folder or file.`);
    if (isHubText(reference)) return this.#openHub(reference, what);
    const card = (await this.builtin()).find(({ name }) => name === reference);
    const shown = expandVariables(reference, this.#environment, what);
    const path = card ? join(this.#builtinFolder, card.file) : resolve(folder, shown);
    const info = statOrNothing(path);
    if (!info) throw await this.#missing(reference, path, what);
    if (!info.isDirectory()) return openFile(card?.name ?? plainName(path), path, shown, card?.sha256);
    if (existsSync(join(path, RUN_FILES.recipe))) return (await this.#openRun(path, shown, runs)).model;
    if (!existsSync(join(path, 'config.json'))) {
      throw new AlloyError(
        'bad-file',
        `${shown} is neither a model nor a finished run: it has no config.json and no ${RUN_FILES.recipe}; give a Hugging Face folder, a .gguf or .onnx file or a run's folder.`,
      );
    }
    return openFolder(card?.name ?? basename(path), shown, fileOpener(path, shown));
  }

  /**
   * A model as a plan needs it. Where its weights are not here, its config alone is read: of a model of the hub, of a folder
   * without weights, or of a `config.json` itself.
   * @throws AlloyError as `open` does
   */
  async planned(reference: string, folder: string, what: string): Promise<PlannedModel> {
    const alone = isHubText(reference)
      ? await this.#hub?.().planned(reference)
      : await this.#configAlone(reference, folder, what);
    return alone ?? plannedModel(await this.open(reference, folder, what));
  }

  async #configAlone(reference: string, folder: string, what: string): Promise<PlannedModel | undefined> {
    const shown = expandVariables(reference, this.#environment, what);
    const path = resolve(folder, shown);
    const inside = statOrNothing(path)?.isDirectory() ?? false;
    const file = inside ? join(path, CONFIG) : path;
    if (basename(file) !== CONFIG || !statOrNothing(file)?.isFile()) return undefined;
    const place = dirname(file);
    if (inside && readdirSync(place).some((name) => WEIGHTS.test(name))) return undefined;
    const document = await readJson(fileOpener(place, inside ? shown : dirname(shown)), place, CONFIG);
    return plannedConfig(basename(place), document, inside ? join(shown, CONFIG) : shown);
  }

  /** What a reference to the hub led to in this process; undefined for one that was not opened. */
  origin(reference: string): ModelOrigin | undefined {
    return this.#pins.get(reference);
  }

  async #openHub(reference: string, what: string): Promise<OpenModel> {
    if (!this.#hub)
      throw new AlloyError('unsupported', `${what} names ${reference}, but there is no hub here.`);
    const model = await this.#hub().open(reference);
    if (model.origin) this.#pins.set(reference, model.origin);
    return model;
  }

  /** Opens a finished run. @param shown the folder as the person wrote it */
  openRun(path: string, shown: string): Promise<OpenedRun> {
    return this.#openRun(path, shown, []);
  }

  async #openRun(path: string, shown: string, runs: readonly string[]): Promise<OpenedRun> {
    const info = statOrNothing(path);
    if (!info?.isDirectory()) {
      throw new AlloyError(
        info ? 'bad-argument' : 'missing-file',
        `${shown}: ${info ? 'a run is a folder, not a file' : 'there is no such folder'}; give the folder that alloy fuse wrote.`,
      );
    }
    if (!existsSync(join(path, RUN_FILES.recipe))) {
      throw new AlloyError(
        'bad-argument',
        `${shown} is no run: it has no ${RUN_FILES.recipe}; give the folder that alloy fuse wrote.`,
      );
    }
    if (runs.includes(path)) {
      throw new AlloyError(
        'bad-file',
        `${shown}/${RUN_FILES.recipe}: the pivot leads back to the run itself; name the model that was fused.`,
      );
    }
    return openRun(basename(path), shown, fileOpener(path, shown), (pivot) =>
      this.#open(pivot, path, `${shown}/${RUN_FILES.recipe}: pivot`, [...runs, path]),
    );
  }

  async #missing(reference: string, path: string, what: string): Promise<AlloyError> {
    const names = (await this.builtin()).map(({ name }) => name);
    const known = names.length > 0 ? `; the built-in models are ${names.join(', ')}` : '';
    const place = path === reference ? '' : ` (${path})`;
    return new AlloyError(
      'missing-file',
      `${what}: there is no model "${reference}"${place}; give a built-in name, a Hugging Face folder, a .gguf file or a finished run${known}.`,
    );
  }
}

function plainName(path: string): string {
  return basename(path, extname(path).toLowerCase() === '.gguf' ? extname(path) : '');
}

/** @param sha256 what its content has to hash to, where that is known */
async function openFile(name: string, path: string, shown: string, sha256?: string): Promise<OpenModel> {
  if (extname(path).toLowerCase() === '.onnx') return openOnnxFile(path, shown);
  const source = await nodeFileSource(path, shown);
  const magic = new TextDecoder('latin1').decode(await source.read(0, Math.min(4, source.bytes)));
  if (magic !== 'GGUF' && extname(path).toLowerCase() !== '.gguf') {
    const isPart = extname(path) === '.safetensors' || basename(path) === 'config.json';
    throw new AlloyError(
      'bad-file',
      isPart
        ? `${shown} is one file of a model; give its folder, ${dirname(shown)}.`
        : `${shown} is no GGUF file; give a .gguf file or a Hugging Face folder.`,
    );
  }
  if (sha256 && (await sha256OfFile(path)) !== sha256) {
    throw new AlloyError(
      'bad-file',
      `${path} is not the built-in model that its index describes (its sha256 differs); restore the file from the project.`,
    );
  }
  return openGguf(name, source, fileOpener(dirname(path), dirname(shown)));
}

/** An ONNX file in a model's folder, or in a folder of that one: transformers.js has them in `onnx`. */
function openOnnxFile(path: string, shown: string): Promise<OpenModel> {
  const [folder, shownFolder] = [dirname(path), dirname(shown)];
  for (const up of ['', '..']) {
    const root = join(folder, up);
    const opener = fileOpener(root, join(shownFolder, up));
    if (existsSync(join(root, 'config.json'))) {
      const file = relative(root, path).split(sep).join('/');
      return openFolder(basename(root), join(shownFolder, up), opener, file);
    }
  }
  throw new AlloyError(
    'missing-file',
    `${shown}: there is no config.json beside it or above it; give an ONNX file inside its Hugging Face folder.`,
  );
}

function fileOpener(folder: string, shown: string): (name: string) => Promise<FileSource | null> {
  return async (name) => {
    const path = join(folder, ...name.split('/'));
    if (!existsSync(path)) return null;
    return nodeFileSource(path, join(shown, name));
  };
}

async function readIndex(path: string): Promise<readonly BuiltinModel[]> {
  if (!existsSync(path)) return [];
  const fail = (what: string) =>
    new AlloyError('bad-file', `${path}: ${what}; restore the file from the project.`);
  let document: unknown;
  try {
    document = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    throw fail('it is not valid JSON');
  }
  const parsed = z.array(cardSchema).safeParse(document);
  if (parsed.success) return parsed.data;
  const [problem] = fieldProblems(parsed.error.issues, document);
  throw fail(`${problem?.field}: ${problem?.what}`);
}
