import { formatBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';
import type { FileSource, Storage } from '../storage.ts';
import { abortError, readText } from '../storageHelpers.ts';
import { type HeldContent, noSpace, notHere, notKnown } from './cacheErrors.ts';
import type { HubClient } from './client.ts';
import { download, feed, hasFile, startContentHash, type TransferNote } from './download.ts';
import { fetchListing, type HubFile, type HubListing } from './listing.ts';
import {
  blobPlace,
  folderOf,
  type HubRecord,
  listRecords,
  pinnedText,
  readCommit,
  readListing,
  readRecord,
  removeRecord,
  revisionOf,
  writeCommit,
  writeListing,
  writeRecord,
} from './records.ts';
import { type HubReference, isCommit } from './reference.ts';
import { chooseVariant, defaultVariant, type HubVariant, INDEX_FILE, total, variantsOf } from './variants.ts';

export interface TransferState {
  /** The file under way. */
  readonly file: string;
  /** Of all files together; `done` counts what was there before, too. */
  readonly done: number;
  readonly total: number;
  /** What the network has given since the start. */
  readonly received: number;
}

export interface GetOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((state: TransferState) => void) | undefined;
  readonly onNote?: ((note: TransferNote) => void) | undefined;
  /** Where the hub cannot be reached and what is known is used instead. */
  readonly onStale?: ((reason: string) => void) | undefined;
}

/** What a reference leads to, without its weights. */
export interface HubLook {
  readonly listing: HubListing;
  readonly revision: string;
  readonly variants: readonly HubVariant[];
  /** Key of the one that the reference means, or that is recommended. */
  readonly chosen: string | undefined;
  /** Keys of those that are here. */
  readonly here: readonly string[];
}

/** Bytes that are left to the system when space is looked at. */
const RESERVE_BYTES = 4 * 1024 * 1024;
const TOUCH_EVERY_MS = 60_000;
const DEFAULT_REVISION = 'main';

/** Models of the hub in a storage: getting them, finding them again without a network, and giving their space back. */
export class HubCache {
  readonly #storage: Storage;
  readonly #client: HubClient | undefined;
  readonly #now: () => number;

  /** @param client left out where nothing may be fetched */
  constructor(storage: Storage, client: HubClient | undefined, now: () => number = Date.now) {
    this.#storage = storage;
    this.#client = client;
    this.#now = now;
  }

  /** What a reference leads to. @throws AlloyError where it leads nowhere */
  async look(reference: HubReference, options: GetOptions = {}): Promise<HubLook> {
    const listing = await this.#resolve(reference, options);
    const variants = variantsOf(listing);
    const named = reference.file !== undefined || reference.variant !== undefined;
    const chosen = named ? chooseVariant(listing, reference) : defaultVariant(variants);
    const here: string[] = [];
    for (const { key } of variants) {
      const record = await readRecord(this.#storage, { ...listing, key });
      if (record?.complete && (await this.#isHere(record))) here.push(key);
    }
    return { listing, revision: reference.revision ?? DEFAULT_REVISION, variants, chosen: chosen?.key, here };
  }

  /**
   * Brings a model into the cache, unless it is there.
   * @throws AlloyError `no-network`, `no-access`, `missing-file`, `unsupported`, `bad-file`, `disk-full`, `cancelled`; what
   *   came is kept and gone on with by the next call
   */
  async get(reference: HubReference, options: GetOptions = {}): Promise<HubRecord> {
    const listing = await this.#resolve(reference, options);
    const variant = chooseVariant(listing, reference);
    const known = await readRecord(this.#storage, { ...listing, key: variant.key });
    if (known?.complete && (await this.#isHere(known))) return this.#touched(known);
    const record: HubRecord = {
      ...known,
      id: listing.id,
      commit: listing.commit,
      key: variant.key,
      label: variant.label,
      files: known?.complete ? known.files : variant.files,
      bytes: known?.complete ? known.bytes : variant.bytes,
      complete: false,
      revision: known?.revision ?? (await this.#revision(reference, listing)),
      usedAt: this.#now(),
      ...(listing.licence !== undefined && { licence: listing.licence }),
    };
    if (!this.#client) throw notHere(record);
    try {
      await writeRecord(this.#storage, record);
      const files = await this.#fetchAll(this.#client, listing, record, options);
      const complete = { ...record, files, bytes: total(files), complete: true };
      await writeRecord(this.#storage, complete);
      return complete;
    } catch (error) {
      // What never began needs no place in a list.
      if (!known && (await this.bytesHere(record)) === 0) await removeRecord(this.#storage, record);
      if (error instanceof AlloyError && error.code === 'disk-full')
        throw await this.#fullError(record, error);
      throw error;
    }
  }

  /** Models in the cache, those on their way there too, the last used first. */
  async list(): Promise<readonly HubRecord[]> {
    return (await listRecords(this.#storage)).sort((a, b) => b.usedAt - a.usedAt);
  }

  /** Bytes of a model that are here, those of files that are not complete too. */
  async bytesHere({ id, files }: HubRecord): Promise<number> {
    let bytes = 0;
    for (const file of files) bytes += await this.#haveBytes(id, file);
    return bytes;
  }

  /** Removes a model; contents that another form or revision of it has too stay. @returns the bytes that became free */
  async remove(record: HubRecord): Promise<number> {
    const others = (await listRecords(this.#storage)).filter(
      (one) => folderOf(one.id) === folderOf(record.id) && pinnedText(one) !== pinnedText(record),
    );
    const needed = new Set(others.flatMap(({ files }) => files.map(({ hash }) => hash.hex)));
    let freed = 0;
    await removeRecord(this.#storage, record);
    for (const file of record.files) {
      if (needed.has(file.hash.hex)) continue;
      freed += await this.#haveBytes(record.id, file);
      await this.#removeBlob(record.id, file);
    }
    if (others.length === 0) await this.#storage.remove(folderOf(record.id));
    return freed;
  }

  /**
   * Reads every file of a model again and compares its hash; a damaged one is removed, so that the next use fetches it.
   * @returns the paths of those that were damaged or missing
   */
  async verify(
    record: HubRecord,
    options: Pick<GetOptions, 'signal' | 'onProgress'> = {},
  ): Promise<readonly string[]> {
    const bad: string[] = [];
    let before = 0;
    for (const file of record.files) {
      const place = blobPlace(record.id, file.hash);
      const tell = (done: number) =>
        options.onProgress?.({
          file: file.path,
          done: before + done,
          total: total(record.files),
          received: 0,
        });
      if (await hasFile(this.#storage, place, file.bytes)) {
        const hash = startContentHash(this.#storage, file);
        await feed(hash, await this.#storage.open(place), options.signal, tell);
        if (hash.hex() !== file.hash.hex) {
          await this.#removeBlob(record.id, file);
          bad.push(file.path);
        }
      } else bad.push(file.path);
      before += file.bytes;
      tell(0);
    }
    return bad;
  }

  /** Opens a file of a complete model by its path; null where the model has none. */
  async open({ id, files }: Pick<HubRecord, 'id' | 'files'>, path: string): Promise<FileSource | null> {
    const file = files.find((one) => one.path === path);
    if (!file) return null;
    const source = await this.#storage.open(blobPlace(id, file.hash));
    return { name: path, bytes: source.bytes, read: (offset, length) => source.read(offset, length) };
  }

  /** One file of what a reference names, whichever form of the model it belongs to; null where there is none. */
  async file(reference: HubReference, path: string, options: GetOptions = {}): Promise<FileSource | null> {
    const { id, commit, files } = await this.#resolve(reference, options);
    const file = files.find((one) => one.path === path);
    if (!file) return null;
    const place = blobPlace(id, file.hash);
    if (!(await hasFile(this.#storage, place, file.bytes))) {
      if (!this.#client) return null;
      const job = { client: this.#client, storage: this.#storage, place, id, commit, file };
      await download(job, { signal: options.signal, onNote: options.onNote });
    }
    return this.open({ id, files }, path);
  }

  /** Keeps with a model what was found out about it. */
  async describe(record: HubRecord, card: unknown): Promise<void> {
    await writeRecord(this.#storage, { ...record, card });
  }

  freeBytes(): Promise<number | null> {
    return this.#storage.freeBytes();
  }

  async #resolve(
    { id, revision = DEFAULT_REVISION }: HubReference,
    options: GetOptions,
  ): Promise<HubListing> {
    const commit = isCommit(revision) ? revision : await readCommit(this.#storage, id, revision);
    const known = commit === undefined ? undefined : await readListing(this.#storage, id, commit);
    if (known && isCommit(revision)) return known;
    if (!this.#client) {
      if (!known) throw notKnown(id, revision);
      options.onStale?.('offline');
      return known;
    }
    try {
      const listing = await fetchListing(this.#client, id, revision, {
        signal: options.signal,
        brief: known !== undefined,
      });
      await this.#remember(listing, revision);
      return listing;
    } catch (error) {
      const passing = error instanceof AlloyError && ['no-network', 'no-access'].includes(error.code);
      if (!known || !passing) throw error;
      options.onStale?.(error.message);
      return known;
    }
  }

  /** What a model is said to be got as: a branch or tag rather than the commit that it was. */
  async #revision(
    { revision = DEFAULT_REVISION }: HubReference,
    { id, commit }: HubListing,
  ): Promise<string> {
    return isCommit(revision) ? revisionOf(this.#storage, id, commit) : revision;
  }

  /** A storage that cannot be written is told when a file is to be, not when one is only looked up. */
  async #remember(listing: HubListing, revision: string): Promise<void> {
    try {
      await writeListing(this.#storage, listing);
      if (!isCommit(revision)) await writeCommit(this.#storage, listing.id, revision, listing.commit);
    } catch (error) {
      if (!(error instanceof AlloyError)) throw error;
    }
  }

  /** @returns all files of the model, with the parts that its index names */
  async #fetchAll(
    client: HubClient,
    listing: HubListing,
    record: HubRecord,
    options: GetOptions,
  ): Promise<readonly HubFile[]> {
    let files = record.files;
    await this.#checkSpace(record.id, files);
    let [before, received] = [0, 0];
    const fetched = new Set<string>();
    for (
      let next: HubFile | undefined = files[0];
      next;
      next = files.find(({ path }) => !fetched.has(path))
    ) {
      const file: HubFile = next;
      const stopped = abortError(options.signal);
      if (stopped) throw stopped;
      const tell = (done: number, more: number) => {
        received += more;
        const all = Math.max(record.bytes, total(files));
        options.onProgress?.({ file: file.path, done: before + done, total: all, received });
      };
      const place = blobPlace(record.id, file.hash);
      const job = { client, storage: this.#storage, place, id: record.id, commit: record.commit, file };
      await download(job, { signal: options.signal, onNote: options.onNote, onProgress: tell });
      fetched.add(file.path);
      before += file.bytes;
      if (file.path === INDEX_FILE) {
        files = [...files, ...(await this.#parts(listing, file, files))];
        await writeRecord(this.#storage, { ...record, files, bytes: total(files) });
        await this.#checkSpace(record.id, files);
      }
    }
    return files;
  }

  /** The files that an index names. @throws AlloyError `bad-file`, `missing-file` */
  async #parts({ id, files }: HubListing, index: HubFile, known: readonly HubFile[]): Promise<HubFile[]> {
    const fail = (what: string) =>
      new AlloyError('bad-file', `${index.path} of ${id} ${what}; use another model.`);
    let map: unknown;
    try {
      map = (
        JSON.parse(await readText(await this.#storage.open(blobPlace(id, index.hash)))) as {
          weight_map?: unknown;
        }
      )?.weight_map;
    } catch {
      throw fail('is not valid JSON');
    }
    if (typeof map !== 'object' || map === null) throw fail('has no weight_map');
    const names = new Set<unknown>(Object.values(map));
    return [...names].flatMap((name) => {
      if (known.some(({ path }) => path === name)) return [];
      const file = files.find(({ path }) => path === name);
      if (file) return file;
      throw new AlloyError(
        'missing-file',
        `${id} has no file ${String(name)}, which its ${index.path} names; the repository is not complete, use another revision.`,
      );
    });
  }

  async #checkSpace(id: string, files: readonly HubFile[]): Promise<void> {
    const free = await this.#storage.freeBytes();
    if (free === null) return;
    let needed = 0;
    for (const file of files) needed += file.bytes - (await this.#haveBytes(id, file));
    if (needed === 0 || needed + RESERVE_BYTES <= free) return;
    throw new AlloyError(
      'disk-full',
      `${formatBytes(needed)} are still needed and ${formatBytes(free)} are free`,
    );
  }

  /** Says what could be deleted. */
  async #fullError(record: HubRecord, cause: AlloyError): Promise<AlloyError> {
    const others: HeldContent[] = [];
    for (const one of [...(await this.list())].reverse()) {
      if (pinnedText(one) === pinnedText(record)) continue;
      others.push({ reference: pinnedText(one), bytes: await this.bytesHere(one), usedAt: one.usedAt });
    }
    return noSpace(record, others, cause);
  }

  async #haveBytes(id: string, file: HubFile): Promise<number> {
    const place = blobPlace(id, file.hash);
    if (await this.#storage.exists(place)) return (await this.#storage.open(place)).bytes;
    return (await this.#storage.openPart(place))?.bytes ?? 0;
  }

  async #isHere({ id, files }: HubRecord): Promise<boolean> {
    for (const file of files) {
      if (!(await hasFile(this.#storage, blobPlace(id, file.hash), file.bytes))) return false;
    }
    return true;
  }

  async #removeBlob(id: string, file: HubFile): Promise<void> {
    const place = blobPlace(id, file.hash);
    await this.#storage.exclusive(place, () => this.#storage.remove(place));
  }

  /** Notes that a model was used; a cache that may not be written is as good to read. */
  async #touched(record: HubRecord): Promise<HubRecord> {
    const usedAt = this.#now();
    if (usedAt - record.usedAt < TOUCH_EVERY_MS) return record;
    const used = { ...record, usedAt };
    await writeRecord(this.#storage, used).catch(() => undefined);
    return used;
  }
}
