import type { FileSource } from '../util/fileSource.ts';
import { checkRange, shortRead } from './storageHelpers.ts';

/** A file that a person chose in the browser (`File`), or any `Blob`. Nothing is copied before it is read. */
export function blobSource(blob: Blob, name = blob instanceof File ? blob.name : 'file'): FileSource {
  const source = {
    name,
    bytes: blob.size,
    async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(source, offset, length);
      const buffer = await blob.slice(offset, offset + length).arrayBuffer();
      if (buffer.byteLength !== length) throw shortRead(name);
      return new Uint8Array(buffer);
    },
  };
  return source;
}

/** Bytes that are in memory already. */
export function memorySource(bytes: Uint8Array, name: string): FileSource {
  const source = {
    name,
    bytes: bytes.byteLength,
    async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(source, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
  return source;
}
