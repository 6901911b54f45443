/** A file that can be read at any place: on disk, in memory, in the browser's storage, or behind HTTP ranges. */
export interface FileSource {
  /** The file's name as a person knows it; used in error sentences. */
  readonly name: string;
  /** Size of the whole file in bytes. */
  readonly bytes: number;
  /**
   * Reads exactly `length` bytes from `offset`; the result owns its memory and starts at byte 0 of its buffer.
   * @throws AlloyError `bad-file` when the range does not lie inside the file or the file became shorter.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Where bytes go, in order. */
export interface ByteSink {
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}
