import type { FileSource, Storage, StorageEntry, StorageWriter } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';

/** Files that live as long as the process: the artifact store of commands whose results nobody needs again. */
export class MemoryStorage implements Storage {
  readonly #files = new Map<string, Uint8Array<ArrayBuffer>>();

  async list(prefix?: string): Promise<StorageEntry[]> {
    return [...this.#files]
      .filter(([path]) => prefix === undefined || path.startsWith(`${prefix}/`))
      .map(([path, { length: bytes }]) => ({ path, bytes }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async exists(path: string): Promise<boolean> {
    return this.#files.has(path);
  }

  async open(path: string): Promise<FileSource> {
    const bytes = this.#files.get(path);
    if (!bytes) throw new AlloyError('missing-file', `${path}: there is no such file; check the path.`);
    return {
      name: path,
      bytes: bytes.length,
      read: async (offset, length) => bytes.slice(offset, offset + length),
    };
  }

  async create(path: string): Promise<StorageWriter> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    const files = this.#files;
    const writer = {
      bytes: 0,
      async write(bytes: Uint8Array<ArrayBuffer>) {
        parts.push(bytes.slice());
        writer.bytes += bytes.length;
      },
      async commit() {
        const all = new Uint8Array(writer.bytes);
        let at = 0;
        for (const part of parts) {
          all.set(part, at);
          at += part.length;
        }
        files.set(path, all);
      },
      abort: async () => undefined,
    };
    return writer;
  }

  async remove(path: string): Promise<void> {
    for (const name of [...this.#files.keys()])
      if (name === path || name.startsWith(`${path}/`)) this.#files.delete(name);
  }

  async freeBytes(): Promise<null> {
    return null;
  }
}
