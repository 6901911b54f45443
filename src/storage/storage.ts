import type { ByteSink, FileSource } from '../util/fileSource.ts';
import type { HashKind, StreamHash } from '../util/streamHash.ts';

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

export interface ExclusiveOptions {
  readonly signal?: AbortSignal;
  readonly onWait?: () => void;
}

/** One file as listed. */
export interface StorageEntry {
  /** Path below the storage's root, with `/` between folders. */
  readonly path: string;
  readonly bytes: number;
}

/**
 * A folder of files that Alloy may write: a folder on disk (Node) or the browser's private file system (OPFS).
 * Paths are relative, with `/` between names; `..`, absolute paths and names ending in `.part` or `.lock` are refused (`bad-argument`).
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
  /** What there is of a file whose writing was stopped with `keepPart`, or null. Not to be called while it is written. */
  openPart(path: string): Promise<FileSource | null>;
  /** Removes a file or a folder with everything in it, and an unfinished `.part` file; nothing happens if there is none. */
  remove(path: string): Promise<void>;
  /** Bytes that can still be written, or null where the system does not say. */
  freeBytes(): Promise<number | null>;
  /**
   * Runs a job that nobody else may run at the same time under the same name: no other part of this program, no other
   * tab, no other process. One that died does not keep others waiting.
   * @param options.onWait called once when somebody else has it; `signal` ends the waiting
   * @throws AlloyError `cancelled`
   */
  exclusive<T>(name: string, job: () => Promise<T>, options?: ExclusiveOptions): Promise<T>;
  /** A faster hash than `streamHash`, where the system has one. */
  readonly startHash?: (kind: HashKind) => StreamHash;
}
