import type { ByteSink, FileSource } from '../util/fileSource.ts';

export type { ByteSink, FileSource };

/** A file that is being written under `<path>.part` and gets its name only when it is complete. */
export interface StorageWriter extends ByteSink {
  /** Bytes written so far, counting those that were there when writing was resumed. */
  readonly bytes: number;
  /** Makes the file visible under its final name, replacing an older one in one step. */
  commit(): Promise<void>;
  /** Stops. The `.part` file is removed unless `keepPart` is set, so that writing can be resumed later. */
  abort(options?: { keepPart?: boolean }): Promise<void>;
}

/** One file as listed. */
export interface StorageEntry {
  /** Path below the storage's root, with `/` between folders. */
  readonly path: string;
  readonly bytes: number;
}

/**
 * A folder of files that Alloy may write: a folder on disk (Node) or the browser's private file system (OPFS).
 * Paths are relative, with `/` between names; `..`, absolute paths and names ending in `.part` are refused (`bad-argument`).
 * Every write can fail with `disk-full`.
 */
export interface Storage {
  /** Files below `prefix` (a folder; default: all), sorted by path; unfinished `.part` files are left out. */
  list(prefix?: string): Promise<StorageEntry[]>;
  exists(path: string): Promise<boolean>;
  /** Opens a file for reading. @throws AlloyError `missing-file` */
  open(path: string): Promise<FileSource>;
  /** Starts a file; with `resume`, goes on after the bytes of an earlier `.part` file if there is one. */
  create(path: string, options?: { resume?: boolean }): Promise<StorageWriter>;
  /** Removes a file or a folder with everything in it, and an unfinished `.part` file; nothing happens if there is none. */
  remove(path: string): Promise<void>;
  /** Bytes that can still be written, or null where the system does not say. */
  freeBytes(): Promise<number | null>;
}
