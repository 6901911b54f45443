import type { FileSource } from './fileSource.ts';

const HASH_CHUNK_BYTES = 16 * 1024 * 1024;

/** SHA-256 as 64 lower-case hex digits. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** JSON with the keys of objects sorted, so that equal values have equal texts. `undefined` members are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** The hash of a plain value; the same on every machine. */
export function hashOf(value: unknown): Promise<string> {
  return sha256(new TextEncoder().encode(canonicalJson(value)));
}

/**
 * Identifies a file by its content: the hash of the hashes of its 16 MiB pieces, since Web Crypto cannot hash a stream.
 */
export async function hashOfFile(file: FileSource): Promise<string> {
  const pieces: string[] = [];
  for (let offset = 0; offset < file.bytes; offset += HASH_CHUNK_BYTES) {
    pieces.push(await sha256(await file.read(offset, Math.min(HASH_CHUNK_BYTES, file.bytes - offset))));
  }
  return hashOf({ bytes: file.bytes, pieces });
}
