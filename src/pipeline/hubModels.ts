import { type GetOptions, HubCache, type HubLook } from '../storage/hub/cache.ts';
import { HubClient, type HubOptions } from '../storage/hub/client.ts';
import { type HubRecord, pinnedText } from '../storage/hub/records.ts';
import {
  DEFAULT_ENDPOINT,
  type HubReference,
  isHubText as isText,
  parseHubReference,
} from '../storage/hub/reference.ts';
import { type HubFormat, SAFETENSORS } from '../storage/hub/variants.ts';
import type { Storage } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';
import { plannedConfig } from './configAlone.ts';
import type { PlannedModel } from './memoryPlan.ts';
import { type OpenModel, openFolder, openGguf, readJson } from './openModel.ts';

const CONFIG = 'config.json';

export interface HubSettings {
  /** The hub's own by default; several are mirrors of each other. */
  readonly endpoints?: readonly string[] | undefined;
  readonly token?: string | undefined;
  /** Where a person gives the token, for errors that ask for one. */
  readonly tokenPlace?: string | undefined;
  /** Nothing is fetched. */
  readonly offline?: boolean | undefined;
  /** For references that name none. */
  readonly revision?: string | undefined;
}

/** A model in the cache as a list shows it. */
export interface HeldModel {
  /** Names exactly this: `hub:OWNER/NAME@COMMIT`, `hub:OWNER/NAME/FILE.gguf@COMMIT`. */
  readonly reference: string;
  readonly id: string;
  readonly commit: string;
  /** What it was got as, such as `main`. */
  readonly revision: string;
  /** `Q4_K_M`, `BF16`, `safetensors`. */
  readonly label: string;
  readonly format: HubFormat;
  /** Of all its files, and how much of it is here. */
  readonly bytes: number;
  readonly bytesHere: number;
  readonly complete: boolean;
  readonly licence?: string;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
}

/** Whether a text is meant to name a model of the hub: `hub:…`, or an address. */
export const isHubText = (text: string): boolean => isText(text);

/** Models of the Hugging Face hub: looked up, downloaded once, opened. */
export class HubModels {
  readonly #cache: HubCache;
  readonly #settings: HubSettings;
  readonly #endpoints: readonly string[];

  constructor(
    storage: Storage,
    settings: HubSettings = {},
    options: Pick<HubOptions, 'fetch' | 'patience'> & { now?: () => number } = {},
  ) {
    const { endpoints, token, tokenPlace, offline } = settings;
    const { now, ...how } = options;
    this.#settings = settings;
    this.#endpoints = endpoints && endpoints.length > 0 ? endpoints : [DEFAULT_ENDPOINT];
    const client = new HubClient({
      endpoints: this.#endpoints,
      ...(token !== undefined && { token }),
      tokenPlace,
      ...how,
    });
    this.#cache = new HubCache(storage, offline ? undefined : client, now);
  }

  look(text: string, options: GetOptions = {}): Promise<HubLook> {
    return this.#cache.look(this.#parse(text), options);
  }

  /** Brings a model into the cache, unless it is there. */
  get(text: string, options: GetOptions = {}): Promise<HubRecord> {
    return this.#cache.get(this.#parse(text), options);
  }

  /** Opens a model, which is fetched first where it is not here. */
  async open(text: string, options: GetOptions = {}): Promise<OpenModel> {
    return this.openRecord(await this.get(text, options));
  }

  async openRecord(record: HubRecord): Promise<OpenModel> {
    const reference = pinnedText(record);
    const model = await this.#openFiles(record);
    const origin = {
      reference,
      files: record.files.map(({ path, bytes, hash }) => ({ path, bytes, hash: `${hash.kind}:${hash.hex}` })),
    };
    return { ...model, origin };
  }

  /**
   * A model as a plan needs it, without its weights.
   * @returns undefined where its config alone does not say enough: of GGUF and ONNX files, and of models that have none
   */
  async planned(text: string, options: GetOptions = {}): Promise<PlannedModel | undefined> {
    const reference = this.#parse(text);
    const { listing, chosen } = await this.#cache.look(reference, options);
    if (chosen !== SAFETENSORS) return undefined;
    const config = await this.#cache.file(reference, CONFIG, options);
    const shown = `hub:${listing.id}`;
    if (!config) return undefined;
    return plannedConfig(
      lastName(listing.id),
      await readJson(async () => config, shown, CONFIG),
      `${shown}/${CONFIG}`,
    );
  }

  async list(): Promise<readonly HeldModel[]> {
    const held: HeldModel[] = [];
    for (const record of await this.#cache.list()) held.push(await this.held(record));
    return held;
  }

  /**
   * The models in the cache that a reference means: all of a repository, of a revision, or one file.
   * @throws AlloyError `missing-file` where there is none
   */
  async records(text: string): Promise<readonly HubRecord[]> {
    const wanted = parseHubReference(text, this.#endpoints);
    const { revision = this.#settings.revision } = wanted;
    const found = (await this.#cache.list()).filter(
      (record) =>
        matches(record, wanted) &&
        (revision === undefined || [record.commit, record.revision].includes(revision)),
    );
    if (found.length > 0) return found;
    throw new AlloyError(
      'missing-file',
      `${text} is not among the models in the cache; alloy models lists them.`,
    );
  }

  /** All models of the cache. */
  all(): Promise<readonly HubRecord[]> {
    return this.#cache.list();
  }

  /** @returns the bytes that became free */
  remove(record: HubRecord): Promise<number> {
    return this.#cache.remove(record);
  }

  /** @returns the paths of files that were damaged and are gone now, or were missing */
  verify(
    record: HubRecord,
    options: Pick<GetOptions, 'signal' | 'onProgress'> = {},
  ): Promise<readonly string[]> {
    return this.#cache.verify(record, options);
  }

  describe(record: HubRecord, card: unknown): Promise<void> {
    return this.#cache.describe(record, card);
  }

  /** The address of a model's page. */
  page(id: string): string {
    return `${(this.#endpoints[0] ?? DEFAULT_ENDPOINT).replace(/\/+$/u, '')}/${id}`;
  }

  freeBytes(): Promise<number | null> {
    return this.#cache.freeBytes();
  }

  #parse(text: string): HubReference {
    const { revision } = this.#settings;
    const reference = parseHubReference(text, this.#endpoints);
    return reference.revision !== undefined || revision === undefined
      ? reference
      : { ...reference, ...parseHubReference(`hub:${reference.id}@${revision}`) };
  }

  /** What a list says of a model. */
  async held(record: HubRecord): Promise<HeldModel> {
    const { id, commit, key, label, bytes, complete, licence, revision, usedAt } = record;
    return {
      reference: pinnedText(record),
      id,
      commit,
      revision,
      label,
      format: formatOf(key),
      bytes,
      bytesHere: await this.#cache.bytesHere(record),
      complete,
      ...(licence !== undefined && { licence }),
      usedAt,
    };
  }

  #openFiles(record: HubRecord): Promise<OpenModel> {
    const { id, key } = record;
    const open = (path: string) => this.#cache.open(record, path);
    switch (formatOf(key)) {
      case 'safetensors':
        return openFolder(lastName(id), `hub:${id}`, open);
      case 'onnx':
        return openFolder(lastName(id), `hub:${id}`, open, key);
      case 'gguf':
        return this.#openGguf(record);
    }
  }

  async #openGguf(record: HubRecord): Promise<OpenModel> {
    const source = await this.#cache.open(record, record.key);
    if (!source) throw new AlloyError('internal', `${record.key} of ${record.id} is not in its record`);
    const folder = record.key.slice(0, record.key.lastIndexOf('/') + 1);
    const name = lastName(record.key).replace(/(?:-\d{5}-of-\d{5})?\.gguf$/iu, '');
    return openGguf(name, source, (beside) => this.#cache.open(record, folder + beside));
  }
}

function formatOf(key: string): HubFormat {
  if (key === SAFETENSORS) return 'safetensors';
  return /\.onnx$/iu.test(key) ? 'onnx' : 'gguf';
}

function matches({ id, key, label }: HubRecord, { id: wanted, file, variant }: HubReference): boolean {
  if (id.toLowerCase() !== wanted.toLowerCase()) return false;
  if (file !== undefined) return key === file;
  return variant === undefined || [label, key].some((one) => one.toLowerCase() === variant.toLowerCase());
}

function lastName(path: string): string {
  return path.split('/').at(-1) ?? path;
}
