import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AlloyError } from '../util/errors.ts';
import type { HashKind, StreamHash } from '../util/streamHash.ts';
import { withLockFile } from './nodeLock.ts';
import type { ExclusiveOptions, FileSource, Storage, StorageEntry, StorageWriter } from './storage.ts';
import {
  asReadError,
  asStorageError,
  checkRange,
  lockSuffix,
  partSuffix,
  shortRead,
  splitStoragePath,
} from './storageHelpers.ts';

/** One system call moves at most 2 GiB on Linux. */
const maxPieceBytes = 1 << 30;

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/**
 * A file on disk. It is opened for each read, so nothing has to be closed.
 * @param name what errors call it
 * @throws AlloyError `missing-file`; `bad-file` when the path is a folder
 */
export async function nodeFileSource(path: string, name = basename(path)): Promise<FileSource> {
  let info: Awaited<ReturnType<typeof stat>>;
  try {
    info = await stat(path);
  } catch (error) {
    if (!isMissing(error)) throw asReadError(error, path);
    throw new AlloyError('missing-file', `${path}: there is no such file; check the path.`, { cause: error });
  }
  if (!info.isFile())
    throw new AlloyError(
      'bad-file',
      `${path}: a file is needed here, not a ${info.isDirectory() ? 'folder' : 'device'}.`,
    );
  const source = {
    name,
    bytes: info.size,
    async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(source, offset, length);
      const result = new Uint8Array(length);
      const handle = await open(path, 'r').catch((error: unknown) => {
        throw asReadError(error, name);
      });
      try {
        let done = 0;
        while (done < length) {
          const { bytesRead } = await handle.read(
            result,
            done,
            Math.min(length - done, maxPieceBytes),
            offset + done,
          );
          if (bytesRead === 0) throw shortRead(source.name);
          done += bytesRead;
        }
      } catch (error) {
        throw asReadError(error, name);
      } finally {
        await handle.close();
      }
      return result;
    },
  };
  return source;
}

/** All bytes of a file, or what a pipe gives until it ends. @param name what errors call it */
export async function readNodeFile(path: string, name = path): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw asReadError(error, name);
  }
}

/** sha256 of a file in hexadecimal, read in pieces of 4 MiB. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  const handle = await open(path, 'r');
  try {
    const piece = new Uint8Array(1 << 22);
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

class NodeWriter implements StorageWriter {
  bytes: number;
  readonly #path: string;
  #handle: FileHandle | null;

  constructor(path: string, handle: FileHandle, bytes: number) {
    this.#path = path;
    this.#handle = handle;
    this.bytes = bytes;
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const handle = this.#open();
    try {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await handle.write(
          bytes,
          done,
          Math.min(bytes.length - done, maxPieceBytes),
          this.bytes,
        );
        done += bytesWritten;
        this.bytes += bytesWritten;
      }
    } catch (error) {
      throw asStorageError(error, this.#path);
    }
  }

  async commit(): Promise<void> {
    const handle = this.#open();
    try {
      await handle.sync();
      this.#handle = null;
      await handle.close();
      await rename(this.#path + partSuffix, this.#path);
    } catch (error) {
      throw asStorageError(error, this.#path);
    }
  }

  async abort(options: { keepPart?: boolean } = {}): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close().catch(() => undefined);
    if (!options.keepPart) await rm(this.#path + partSuffix, { force: true });
  }

  #open(): FileHandle {
    if (this.#handle === null) throw new AlloyError('internal', `${this.#path} is closed already`);
    return this.#handle;
  }
}

/** A folder on disk, made when something is first written. */
export class NodeStorage implements Storage {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Where a file lies on disk. */
  pathOf(path: string): string {
    return join(this.root, ...splitStoragePath(path));
  }

  async list(prefix?: string): Promise<StorageEntry[]> {
    const entries: StorageEntry[] = [];
    const walk = async (folder: string, inside: string): Promise<void> => {
      const found = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
        if (isMissing(error)) return [];
        throw error;
      });
      for (const entry of found) {
        const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
        const full = join(folder, entry.name);
        if (entry.isDirectory()) await walk(full, path);
        else if (entry.isFile() && !isOurs(entry.name))
          entries.push({ path, bytes: (await stat(full)).size });
      }
    };
    await walk(prefix === undefined ? this.root : this.pathOf(prefix), prefix ?? '');
    return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async exists(path: string): Promise<boolean> {
    try {
      return (await stat(this.pathOf(path))).isFile();
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  open(path: string): Promise<FileSource> {
    return nodeFileSource(this.pathOf(path));
  }

  async openPart(path: string): Promise<FileSource | null> {
    const full = this.pathOf(path) + partSuffix;
    try {
      return await nodeFileSource(full);
    } catch (error) {
      if (error instanceof AlloyError && error.code === 'missing-file') return null;
      throw error;
    }
  }

  async create(path: string, options: { resume?: boolean } = {}): Promise<StorageWriter> {
    const full = this.pathOf(path);
    try {
      await mkdir(dirname(full), { recursive: true });
      const handle = await open(full + partSuffix, options.resume ? 'a' : 'w');
      const bytes = options.resume ? (await handle.stat()).size : 0;
      return new NodeWriter(full, handle, bytes);
    } catch (error) {
      throw asStorageError(error, full);
    }
  }

  async remove(path: string): Promise<void> {
    const full = this.pathOf(path);
    try {
      await rm(full, { recursive: true, force: true });
      await rm(full + partSuffix, { force: true });
    } catch (error) {
      throw asStorageError(error, full);
    }
  }

  async freeBytes(): Promise<number | null> {
    let folder = this.root;
    for (;;) {
      try {
        const info = await statfs(folder);
        return info.bavail * info.bsize;
      } catch (error) {
        if (!isMissing(error) || dirname(folder) === folder) return null;
        folder = dirname(folder);
      }
    }
  }

  async exclusive<T>(name: string, job: () => Promise<T>, options: ExclusiveOptions = {}): Promise<T> {
    return withLockFile(this.pathOf(name) + lockSuffix, job, options);
  }

  startHash(kind: HashKind): StreamHash {
    const hash = createHash(kind);
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
  }
}

/** Unfinished files and locks, which nobody is to see as content. */
function isOurs(name: string): boolean {
  return name.endsWith(partSuffix) || name.endsWith(lockSuffix);
}
