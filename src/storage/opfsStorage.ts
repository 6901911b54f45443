import { AlloyError } from '../util/errors.ts';
import { blobSource } from './blobSource.ts';
import type { ExclusiveOptions, FileSource, Storage, StorageEntry, StorageWriter } from './storage.ts';
import { abortError, asStorageError, partSuffix, splitStoragePath } from './storageHelpers.ts';

/** What TypeScript's library for pages leaves out: it exists in workers alone. */
interface AccessHandle {
  getSize(): number;
  write(bytes: Uint8Array<ArrayBuffer>, place: { readonly at: number }): number;
  flush(): void;
  close(): void;
}

interface WorkerFile extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<AccessHandle>;
  /** In every current browser, but not in the library yet. */
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}

/** Part files of writers that will not be resumed have a random name, so that two tabs never share one. */
const ownPart = /\.[0-9a-f]{8}\.part$/u;

/**
 * The browser's private file system of this site (OPFS), inside a worker: files are written through access handles,
 * which every browser with WebGPU has there.
 */
export class OpfsStorage implements Storage {
  readonly #root: FileSystemDirectoryHandle;
  readonly #name: string;

  private constructor(root: FileSystemDirectoryHandle, name: string) {
    this.#root = root;
    this.#name = name;
  }

  /**
   * Opens a folder of the site's private file system and removes what killed writers left there.
   * @throws what the browser throws where it gives no storage (some private windows)
   */
  static async open(folder: string): Promise<OpfsStorage> {
    const origin = await navigator.storage.getDirectory();
    const root = await origin.getDirectoryHandle(folder, { create: true });
    await removeLeftovers(root);
    return new OpfsStorage(root, folder);
  }

  async list(prefix?: string): Promise<StorageEntry[]> {
    const names = prefix === undefined ? [] : splitStoragePath(prefix);
    const folder = await this.#folder(names, false);
    if (!folder) return [];
    const entries: StorageEntry[] = [];
    for await (const { path, handle } of walk(folder, names.join('/'))) {
      if (!path.endsWith(partSuffix)) entries.push({ path, bytes: (await handle.getFile()).size });
    }
    return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#file(path)) !== undefined;
  }

  async open(path: string): Promise<FileSource> {
    const handle = await this.#file(path);
    if (!handle)
      throw new AlloyError('missing-file', `${path}: there is no such file in the browser's storage.`);
    return blobSource(await handle.getFile(), handle.name);
  }

  async openPart(path: string): Promise<FileSource | null> {
    const { names, name } = split(path);
    const folder = await this.#folder(names, false);
    const handle = await folder?.getFileHandle(name + partSuffix).catch(ignoreMissing);
    return handle ? blobSource(await handle.getFile(), handle.name) : null;
  }

  async create(path: string, options: { resume?: boolean } = {}): Promise<StorageWriter> {
    const { names, name } = split(path);
    try {
      const folder = await this.#folder(names, true);
      if (!folder) throw new AlloyError('internal', `the folder of ${path} was not made`);
      const part = options.resume ? name + partSuffix : `${name}.${randomTag()}${partSuffix}`;
      const file = (await folder.getFileHandle(part, { create: true })) as WorkerFile;
      const access = await file.createSyncAccessHandle();
      return new OpfsWriter(path, { folder, file, access, name });
    } catch (error) {
      throw asStorageError(error, path);
    }
  }

  async remove(path: string): Promise<void> {
    const { names, name } = split(path);
    const folder = await this.#folder(names, false);
    for (const entry of [name, name + partSuffix]) {
      await folder?.removeEntry(entry, { recursive: true }).catch(ignoreMissing);
    }
  }

  async freeBytes(): Promise<number | null> {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined ? null : Math.max(0, quota - (usage ?? 0));
  }

  /** Web Locks hold over all tabs of the site, and the browser frees those of a tab that died. */
  async exclusive<T>(name: string, job: () => Promise<T>, options: ExclusiveOptions = {}): Promise<T> {
    const lock = `${this.#name}/${name}`;
    const free = await navigator.locks.request(lock, { ifAvailable: true }, async (held) =>
      held ? { result: await job() } : undefined,
    );
    if (free) return free.result;
    options.onWait?.();
    const { signal } = options;
    try {
      return await navigator.locks.request(lock, signal ? { signal } : {}, job);
    } catch (error) {
      throw abortError(signal) ?? error;
    }
  }

  async #folder(names: readonly string[], create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
    let folder = this.#root;
    try {
      for (const name of names) folder = await folder.getDirectoryHandle(name, { create });
      return folder;
    } catch (error) {
      return ignoreMissing(error);
    }
  }

  async #file(path: string): Promise<FileSystemFileHandle | undefined> {
    const { names, name } = split(path);
    const folder = await this.#folder(names, false);
    return folder?.getFileHandle(name).catch(ignoreMissing);
  }
}

interface OpenPart {
  readonly folder: FileSystemDirectoryHandle;
  readonly file: WorkerFile;
  readonly access: AccessHandle;
  /** The final name. */
  readonly name: string;
}

class OpfsWriter implements StorageWriter {
  bytes: number;
  readonly #path: string;
  #part: OpenPart | undefined;

  constructor(path: string, part: OpenPart) {
    this.#path = path;
    this.#part = part;
    this.bytes = part.access.getSize();
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { access } = this.#open();
    try {
      const written = access.write(bytes, { at: this.bytes });
      // Without space Chromium writes less, throws, or gives a number that is none of bytes.
      if (written > 0 && written <= bytes.length) this.bytes += written;
      if (written !== bytes.length) throw new DOMException('short write', 'QuotaExceededError');
    } catch (error) {
      throw asStorageError(error, this.#path);
    }
  }

  async commit(): Promise<void> {
    const { folder, file, access, name } = this.#open();
    try {
      access.flush();
      access.close();
      await rename(folder, file, name);
      this.#part = undefined;
    } catch (error) {
      throw asStorageError(error, this.#path);
    }
  }

  async abort(options: { keepPart?: boolean } = {}): Promise<void> {
    const part = this.#part;
    this.#part = undefined;
    part?.access.close();
    if (part && !options.keepPart) await part.folder.removeEntry(part.file.name).catch(ignoreMissing);
  }

  #open(): OpenPart {
    if (!this.#part) throw new AlloyError('internal', `${this.#path} is closed already`);
    return this.#part;
  }
}

/** Gives a complete file its name. Browsers that refuse to move over another file get it out of the way first. */
async function rename(folder: FileSystemDirectoryHandle, file: WorkerFile, name: string): Promise<void> {
  if (!file.move) {
    const copy = await folder.getFileHandle(name, { create: true });
    const writable = await copy.createWritable();
    await writable.write(await file.getFile());
    await writable.close();
    await folder.removeEntry(file.name);
    return;
  }
  try {
    await file.move(folder, name);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'QuotaExceededError') throw error;
    await folder.removeEntry(name).catch(ignoreMissing);
    await file.move(folder, name);
  }
}

/** Deletes part files that nobody can go on with; those of another tab are locked and stay. */
async function removeLeftovers(root: FileSystemDirectoryHandle): Promise<void> {
  for await (const { folder, handle } of walk(root, '')) {
    if (ownPart.test(handle.name)) await folder.removeEntry(handle.name).catch(() => undefined);
  }
}

async function* walk(
  folder: FileSystemDirectoryHandle,
  inside: string,
): AsyncGenerator<{ path: string; folder: FileSystemDirectoryHandle; handle: FileSystemFileHandle }> {
  for await (const [name, handle] of folder.entries()) {
    const path = inside === '' ? name : `${inside}/${name}`;
    if (handle.kind === 'directory') yield* walk(handle as FileSystemDirectoryHandle, path);
    else yield { path, folder, handle: handle as FileSystemFileHandle };
  }
}

function split(path: string): { names: readonly string[]; name: string } {
  const names = splitStoragePath(path);
  return { names: names.slice(0, -1), name: names.at(-1) ?? '' };
}

function randomTag(): string {
  const [value = 0] = crypto.getRandomValues(new Uint32Array(1));
  return value.toString(16).padStart(8, '0');
}

/** @returns undefined for a file or folder that is not there; other errors pass */
function ignoreMissing(error: unknown): undefined {
  if (error instanceof DOMException && ['NotFoundError', 'TypeMismatchError'].includes(error.name))
    return undefined;
  throw error;
}
