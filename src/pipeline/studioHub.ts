import type { HubOptions } from '../storage/hub/client.ts';
import type { TransferNote } from '../storage/hub/download.ts';
import { type HubRecord, pinnedText } from '../storage/hub/records.ts';
import type { Storage } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';
import { TransferRate } from '../util/transferRate.ts';
import { HubModels, type HubSettings } from './hubModels.ts';
import type { OpenModel } from './openModel.ts';
import type { HubEvent, HubModelInfo, HubShelfView, ModelCard } from './protocol.ts';

/** Between two events about the same file. */
const TELL_EVERY_MS = 100;

/** Models of the hub in the studio. Only what a person asks for is fetched: opening one takes what is here. */
export class StudioHub {
  readonly #storage: () => Promise<Storage>;
  readonly #how: Pick<HubOptions, 'fetch' | 'patience'>;
  #settings: HubSettings = {};
  readonly #opened = new Map<string, Promise<OpenModel>>();
  #download: AbortController | undefined;

  constructor(storage: () => Promise<Storage>, how: Pick<HubOptions, 'fetch' | 'patience'> = {}) {
    this.#storage = storage;
    this.#how = how;
  }

  /** @throws AlloyError `bad-argument` for an endpoint or a token that is none */
  settings(settings: HubSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    try {
      new HubModels(NOWHERE, settings);
    } catch (error) {
      this.#settings = before;
      throw error;
    }
  }

  async look(text: string): Promise<HubModelInfo> {
    const models = await this.#models();
    let stale: string | undefined;
    const onStale = (reason: string) => {
      stale = reason;
    };
    const { listing, revision, variants, chosen, here } = await models.look(text, { onStale });
    const { id, commit, licence, gated } = listing;
    return {
      id,
      revision,
      commit,
      page: models.page(id),
      gated,
      ...(licence !== undefined && { licence }),
      ...(stale !== undefined && { stale }),
      forms: variants.map(({ key, format, label, bytes }) => ({
        reference: pinnedText({ id, commit, key }),
        format,
        label,
        ...(format !== 'safetensors' && { file: key }),
        bytes,
        here: here.includes(key),
        chosen: key === chosen,
      })),
      freeBytes: await models.freeBytes(),
    };
  }

  /** @throws AlloyError `bad-argument` while another download runs */
  async get(reference: string, onEvent: (event: HubEvent) => void): Promise<ModelCard> {
    if (this.#download) {
      throw new AlloyError(
        'bad-argument',
        'Another model is being downloaded; pause it, or wait until it is here.',
      );
    }
    const abort = new AbortController();
    this.#download = abort;
    const rate = new TransferRate();
    let toldAt = Number.NEGATIVE_INFINITY;
    try {
      const models = await this.#models();
      const record = await models.get(reference, {
        signal: abort.signal,
        onNote: (note) => onEvent({ kind: 'note', text: noteText(note) }),
        onProgress({ file, done, total, received }) {
          const pace = rate.update(received, total - done);
          const now = performance.now();
          if (now - toldAt < TELL_EVERY_MS && done < total) return;
          toldAt = now;
          onEvent({ kind: 'progress', file, done, total, ...pace });
        },
      });
      const card = cardOf(record, await models.openRecord(record));
      await models.describe(record, card);
      return card;
    } finally {
      this.#download = undefined;
    }
  }

  stop(): void {
    this.#download?.abort(new AlloyError('cancelled', 'The download was paused.'));
  }

  async list(): Promise<HubShelfView> {
    const models = await this.#models();
    return { models: await models.list(), freeBytes: await models.freeBytes() };
  }

  async remove(reference: string): Promise<number> {
    const models = await this.#models();
    let freed = 0;
    for (const record of await models.records(reference)) {
      this.#opened.delete(pinnedText(record));
      freed += await models.remove(record);
    }
    return freed;
  }

  async verify(reference: string): Promise<readonly string[]> {
    const models = await this.#models();
    const damaged: string[] = [];
    for (const record of await models.records(reference)) {
      const found = await models.verify(record);
      if (found.length > 0) this.#opened.delete(pinnedText(record));
      damaged.push(...found);
    }
    return damaged;
  }

  /** Those that are here and could be opened when they came. */
  async cards(): Promise<readonly ModelCard[]> {
    const models = await this.#models();
    return (await models.all()).flatMap(({ complete, card }) => (complete && isCard(card) ? [card] : []));
  }

  /** Opens a model that is here. @throws AlloyError `missing-file` */
  open(reference: string): Promise<OpenModel> {
    let opening = this.#opened.get(reference);
    if (!opening) {
      opening = this.#storage().then((storage) => new HubModels(storage, { offline: true }).open(reference));
      this.#opened.set(reference, opening);
      opening.catch(() => this.#opened.delete(reference));
    }
    return opening.then((model) => ({ ...model, name: reference }));
  }

  async #models(): Promise<HubModels> {
    const settings = { ...this.#settings, tokenPlace: 'under “Token and mirrors”' };
    return new HubModels(await this.#storage(), settings, this.#how);
  }
}

/** Settings are checked without a place for models. */
const NOWHERE = {} as Storage;

/** What the studio shows of a model, which it knows by the reference that pins it. */
function cardOf(record: HubRecord, { name, config, tensors }: OpenModel): ModelCard {
  const { id, label, bytes, licence } = record;
  let parameters = 0;
  for (const tensor of tensors.names?.() ?? [])
    parameters += tensors.shape(tensor)?.reduce((product, size) => product * size, 1) ?? 0;
  return {
    name: pinnedText(record),
    title:
      name.toLowerCase().includes(label.toLowerCase()) || label === 'safetensors' ? name : `${name} ${label}`,
    role: 'source',
    family: config.family,
    parameters,
    vocab: config.vocabSize,
    context: config.maxPositions,
    bytes,
    knows: [],
    scores: {},
    licence: licence ?? 'not given',
    from: id,
  };
}

function isCard(card: unknown): card is ModelCard {
  return (
    typeof card === 'object' && card !== null && 'name' in card && 'parameters' in card && 'scores' in card
  );
}

function noteText(note: TransferNote): string {
  switch (note.kind) {
    case 'elsewhere':
      return 'Another tab is getting this model; waiting for it.';
    case 'waiting':
      return `The next try is in ${note.seconds} s: ${note.reason}`;
    case 'again':
      return `${note.file} did not come as the hub says; getting it once more.`;
    default:
      return note satisfies never;
  }
}
