import { AlloyError } from '../util/errors.ts';
import { memorySource } from './blobSource.ts';
import type { ExclusiveOptions, FileSource, Storage, StorageEntry, StorageWriter } from './storage.ts';
import { abortError, splitStoragePath } from './storageHelpers.ts';

/** Files that live as long as the page or process: where the browser gives no storage, for commands whose results nobody needs again, and for tests. */
export class MemoryStorage implements Storage {
  readonly #files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #parts = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #running = new Map<string, Promise<unknown>>();

  async list(prefix?: string): Promise<StorageEntry[]> {
    const inside = prefix === undefined ? '' : `${splitStoragePath(prefix).join('/')}/`;
    return [...this.#files]
      .filter(([path]) => path.startsWith(inside))
      .map(([path, bytes]) => ({ path, bytes: bytes.length }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async exists(path: string): Promise<boolean> {
    return this.#files.has(checked(path));
  }

  async open(path: string): Promise<FileSource> {
    const bytes = this.#files.get(checked(path));
    if (!bytes)
      throw new AlloyError('missing-file', `${path}: there is no such file in memory; make it first.`);
    return memorySource(bytes, path.split('/').at(-1) ?? path);
  }

  async openPart(path: string): Promise<FileSource | null> {
    const bytes = this.#parts.get(checked(path));
    return bytes ? memorySource(bytes, path) : null;
  }

  async create(path: string, options: { resume?: boolean } = {}): Promise<StorageWriter> {
    const start = options.resume ? this.#parts.get(checked(path)) : undefined;
    return new MemoryWriter(start ? [start] : [], {
      commit: (bytes) => {
        this.#parts.delete(path);
        this.#files.set(checked(path), bytes);
      },
      keep: (bytes) => this.#parts.set(path, bytes),
      drop: () => this.#parts.delete(path),
    });
  }

  async remove(path: string): Promise<void> {
    const name = checked(path);
    for (const files of [this.#files, this.#parts]) {
      for (const key of [...files.keys()]) if (key === name || key.startsWith(`${name}/`)) files.delete(key);
    }
  }

  async freeBytes(): Promise<number | null> {
    return null;
  }

  async exclusive<T>(name: string, job: () => Promise<T>, options: ExclusiveOptions = {}): Promise<T> {
    if (this.#running.has(name)) options.onWait?.();
    for (let other = this.#running.get(name); other; other = this.#running.get(name)) {
      await waitFor(other, options.signal);
    }
    const running = job();
    const ended = running.then(
      () => undefined,
      () => undefined,
    );
    this.#running.set(name, ended);
    try {
      return await running;
    } finally {
      this.#running.delete(name);
    }
  }
}

/** @throws AlloyError `cancelled` when the waiting is stopped */
async function waitFor(other: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  const stopped = abortError(signal);
  if (stopped) throw stopped;
  await new Promise<void>((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(abortError(signal)), { once: true });
    other.then(() => resolve());
  });
}

interface WriterEnds {
  commit(bytes: Uint8Array<ArrayBuffer>): void;
  keep(bytes: Uint8Array<ArrayBuffer>): void;
  drop(): void;
}

class MemoryWriter implements StorageWriter {
  bytes: number;
  readonly #pieces: Uint8Array<ArrayBuffer>[];
  readonly #ends: WriterEnds;

  constructor(pieces: readonly Uint8Array<ArrayBuffer>[], ends: WriterEnds) {
    this.#pieces = [...pieces];
    this.#ends = ends;
    this.bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#pieces.push(bytes.slice());
    this.bytes += bytes.length;
  }

  async commit(): Promise<void> {
    this.#ends.commit(this.#joined());
  }

  async abort(options: { keepPart?: boolean } = {}): Promise<void> {
    if (options.keepPart) this.#ends.keep(this.#joined());
    else this.#ends.drop();
  }

  #joined(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}

function checked(path: string): string {
  return splitStoragePath(path).join('/');
}
