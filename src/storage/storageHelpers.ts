import { AlloyError } from '../util/errors.ts';
import type { FileSource, Storage } from './storage.ts';

/** Ending of files that are not complete. */
export const partSuffix = '.part';
/** Ending of files that say who writes in a folder. */
export const lockSuffix = '.lock';

/** Splits a storage path into names. @throws AlloyError `bad-argument` for paths that could leave the storage. */
export function splitStoragePath(path: string): string[] {
  const names = path.split('/');
  const bad = names.some((name) => name === '' || name === '.' || name === '..' || /[\\\0:]/.test(name));
  if (bad || path.endsWith(partSuffix) || path.endsWith(lockSuffix)) {
    throw new AlloyError(
      'bad-argument',
      `"${path}" is not a path inside the storage; use names separated by "/".`,
    );
  }
  return names;
}

/** The error of work that a person stopped, or undefined. */
export function abortError(signal: AbortSignal | undefined): AlloyError | undefined {
  if (!signal?.aborted) return undefined;
  const { reason } = signal as { reason: unknown };
  return reason instanceof AlloyError ? reason : new AlloyError('cancelled', 'It was stopped.');
}

/** Resolves after a while. @throws AlloyError as `abortError` says, as soon as it is aborted */
export function sleep(ms: number, signal?: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stopped = abortError(signal);
    if (stopped) return reject(stopped);
    const stop = () => {
      clearTimeout(timer);
      reject(abortError(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
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
  const code = systemCode(error);
  const name = error instanceof Error ? error.name : '';
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG' || name === 'QuotaExceededError') {
    const limit = code === 'EFBIG' ? ' (files may not become larger here)' : '';
    return new AlloyError(
      'disk-full',
      `There is no space left to write ${path}${limit}; free some and run it again.`,
      { cause: error },
    );
  }
  if (code === undefined && name !== 'NoModificationAllowedError') return error;
  const why = code === undefined ? '' : ` (${code})`;
  return new AlloyError(
    'bad-argument',
    `${path} cannot be written${why}; choose a folder that may be written.`,
    {
      cause: error,
    },
  );
}

/** The operating system's own word for what went wrong, such as `EACCES`. */
function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^E[A-Z\d]+$/.test(code) ? code : undefined;
}

/** Puts what the operating system says when it does not let a file be read into a sentence. */
export function asReadError(error: unknown, name: string): unknown {
  const code = systemCode(error);
  if (error instanceof AlloyError || code === undefined) return error;
  return new AlloyError('bad-file', `${name} cannot be read (${code}); check the file and its permissions.`, {
    cause: error,
  });
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
