import { AlloyError } from '../util/errors.ts';
import type { FileSource, Storage } from './storage.ts';

/** Ending of files that are not complete. */
export const partSuffix = '.part';

/** Splits a storage path into names. @throws AlloyError `bad-argument` for paths that could leave the storage. */
export function splitStoragePath(path: string): string[] {
  const names = path.split('/');
  const bad = names.some((name) => name === '' || name === '.' || name === '..' || /[\\\0:]/.test(name));
  if (bad || path.endsWith(partSuffix)) {
    throw new AlloyError(
      'bad-argument',
      `"${path}" is not a path inside the storage; use names separated by "/".`,
    );
  }
  return names;
}

/** Checks that a range lies inside a file. @throws AlloyError `bad-file` */
export function checkRange(source: { name: string; bytes: number }, offset: number, length: number): void {
  if (offset < 0 || length < 0 || !Number.isSafeInteger(offset + length) || offset + length > source.bytes) {
    throw new AlloyError(
      'bad-file',
      `${source.name}: bytes ${offset} to ${offset + length} were asked for but the file has ${source.bytes}; it is damaged, get it again.`,
    );
  }
}

/** The sentence for a file that became shorter while it was read. */
export function shortRead(name: string): AlloyError {
  return new AlloyError('bad-file', `${name}: the file became shorter while it was read; get it again.`);
}

/** Turns "no space left" and "quota exceeded" into `disk-full`; other errors pass unchanged. */
export function asStorageError(error: unknown, path: string): unknown {
  if (error instanceof AlloyError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const name = error instanceof Error ? error.name : '';
  if (code === 'ENOSPC' || code === 'EDQUOT' || name === 'QuotaExceededError') {
    return new AlloyError(
      'disk-full',
      `There is no space left to write ${path}; free some and run it again.`,
      { cause: error },
    );
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || name === 'NoModificationAllowedError') {
    return new AlloyError('bad-argument', `${path} cannot be written; choose a folder that may be written.`, {
      cause: error,
    });
  }
  return error;
}

/** Reads a whole file. */
export function readAll(source: FileSource): Promise<Uint8Array<ArrayBuffer>> {
  return source.read(0, source.bytes);
}

/** Reads a whole file as UTF-8. @throws AlloyError `bad-file` when it is not UTF-8 */
export async function readText(source: FileSource): Promise<string> {
  const bytes = await readAll(source);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new AlloyError('bad-file', `${source.name}: it is not UTF-8 text; save it as UTF-8.`, {
      cause: error,
    });
  }
}

/** Reads a whole file as JSON. @throws AlloyError `bad-file` */
export async function readJson(source: FileSource): Promise<unknown> {
  const text = await readText(source);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AlloyError(
      'bad-file',
      `${source.name}: it is not valid JSON (${reason}); get the file again.`,
      {
        cause: error,
      },
    );
  }
}

/** Writes a whole file in one go; nothing appears under its name if it fails. */
export async function writeFile(
  storage: Storage,
  path: string,
  content: string | Uint8Array<ArrayBuffer>,
): Promise<void> {
  const writer = await storage.create(path);
  try {
    await writer.write(typeof content === 'string' ? new TextEncoder().encode(content) : content);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
