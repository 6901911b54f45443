import { z } from 'zod';
import { readAll, readJson } from '../storage/storageHelpers.ts';
import { AlloyError } from '../util/errors.ts';
import { sha256 } from '../util/hash.ts';
import type { Host } from './host.ts';
import { type OpenModel, openFolder, openGguf } from './openModel.ts';
import type { ModelCard } from './protocol.ts';

const FOLDER = 'public/models';
const INDEX = `${FOLDER}/index.json`;

const count = z.number().nonnegative();
const entrySchema = z.object({
  name: z.string().min(1),
  title: z.string().min(1),
  role: z.enum(['pivot', 'source']),
  family: z.string(),
  parameters: count,
  tokenizer: z.string().optional(),
  vocab: count,
  context: count,
  bytes: count,
  knows: z.array(z.string()),
  scores: z.record(z.string(), z.number()),
  licence: z.string(),
  sha256: z.string().optional(),
  /** A `.gguf` file or a Hugging Face folder beside the index; `NAME.gguf` where it is left out. */
  file: z.string().optional(),
});

type Entry = z.infer<typeof entrySchema>;

/** The models that come with the project: `public/models/index.json` and the files beside it. */
export class BuiltinModels {
  readonly #openFile: Host['openFile'];
  #index: Promise<readonly Entry[]> | undefined;
  readonly #opened = new Map<string, Promise<OpenModel>>();

  constructor(openFile: Host['openFile']) {
    this.#openFile = openFile;
  }

  /** @throws AlloyError `missing-file` or `bad-file` naming the field of the index */
  async cards(): Promise<readonly ModelCard[]> {
    const entries = await this.#entries();
    return entries.map(({ file: _, sha256: __, tokenizer, ...card }) => ({
      ...card,
      ...(tokenizer && { tokenizer }),
    }));
  }

  /** Opens a model once. @throws AlloyError `missing-file` for a name that is not in the index */
  open(name: string): Promise<OpenModel> {
    let opening = this.#opened.get(name);
    if (!opening) {
      opening = this.#open(name);
      this.#opened.set(name, opening);
      // A file that could not be read may be there the next time.
      opening.catch(() => this.#opened.delete(name));
    }
    return opening;
  }

  async #open(name: string): Promise<OpenModel> {
    const entries = await this.#entries();
    const entry = entries.find((one) => one.name === name);
    if (!entry) {
      throw new AlloyError(
        'missing-file',
        `There is no built-in model "${name}"; choose one of ${entries.map((one) => one.name).join(', ')}.`,
      );
    }
    const path = `${FOLDER}/${entry.file ?? `${name}.gguf`}`;
    if (!path.endsWith('.gguf')) return openFolder(name, path, (file) => this.#openFile(`${path}/${file}`));
    const file = await this.#openFile(path);
    if (!file) {
      throw new AlloyError(
        'missing-file',
        `${path} is missing, which ${INDEX} names; build the studio anew.`,
      );
    }
    if (entry.sha256 && (await sha256(await readAll(file))) !== entry.sha256) {
      throw new AlloyError(
        'bad-file',
        `${path} is not the model that ${INDEX} describes (its sha256 differs); reload the page, or build the studio anew.`,
      );
    }
    return openGguf(name, file);
  }

  #entries(): Promise<readonly Entry[]> {
    this.#index ??= this.#readIndex().catch((error) => {
      this.#index = undefined;
      throw error;
    });
    return this.#index;
  }

  async #readIndex(): Promise<readonly Entry[]> {
    const file = await this.#openFile(INDEX);
    if (!file) {
      throw new AlloyError('missing-file', `${INDEX} is missing; build the studio anew, or reload the page.`);
    }
    const parsed = z.array(entrySchema).safeParse(await readJson(file));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    const field = issue?.path.map(String).join('.') || 'the document';
    throw new AlloyError('bad-file', `${INDEX}: ${field} is wrong (${issue?.message}); get the file again.`);
  }
}
