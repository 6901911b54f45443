/**
 * One file of the hub into the storage. It is written under its hash, as a part first: a part is gone on with after
 * whatever stopped it, and gets its name only when its content has that hash. So no broken connection, no wrong server and
 * no killed process can leave a wrong file behind.
 */
import { AlloyError } from '../../util/errors.ts';
import { type StreamHash, streamHash } from '../../util/streamHash.ts';
import type { FileSource, Storage, StorageWriter } from '../storage.ts';
import { abortError } from '../storageHelpers.ts';
import type { Attempts } from './attempts.ts';
import type { HubClient, Subject } from './client.ts';
import { unreachable } from './hubErrors.ts';
import { filePath, type HubFile } from './listing.ts';

/** What is told while files come. */
export type TransferNote =
  /** Somebody else is getting the same file. */
  | { readonly kind: 'elsewhere'; readonly file: string }
  /** A server asked for a pause, or does not answer. */
  | { readonly kind: 'waiting'; readonly file: string; readonly seconds: number; readonly reason: string }
  /** What came is not what the hub says; it is fetched once more. */
  | { readonly kind: 'again'; readonly file: string };

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of the file that are there and hashed, and how many more the network has given. */
  readonly onProgress?: ((done: number, received: number) => void) | undefined;
  readonly onNote?: ((note: TransferNote) => void) | undefined;
}

export interface Download {
  readonly client: HubClient;
  readonly storage: Storage;
  /** Where the content goes; its last name is the content's hash. */
  readonly place: string;
  readonly id: string;
  readonly commit: string;
  readonly file: HubFile;
}

const PIECE_BYTES = 4 * 1024 * 1024;
/** A content that is not what it should be is fetched once more, from other endpoints if there are. */
const TRIES = 2;

/**
 * Gets a file, unless it is there.
 * @throws AlloyError `no-network`, `no-access`, `missing-file`, `bad-file` for a content that stays wrong, `disk-full`,
 *   `cancelled`; what came is kept, unless it was wrong
 */
export async function download(job: Download, options: DownloadOptions): Promise<void> {
  const { storage, place, file } = job;
  const work = async () => {
    if (await hasFile(storage, place, file.bytes)) return;
    const endpoints = job.client.endpoints.length;
    const wrong = new Set<number>();
    for (let tries = 1; ; tries++) {
      const result = await transfer(job, options, wrong);
      if (result === undefined) return;
      // Of several endpoints that gave parts the last is given another chance, alone.
      const [...gave] = result.endpoints;
      for (const endpoint of gave.length > 1 ? gave.slice(0, -1) : gave) wrong.add(endpoint);
      if (tries === Math.max(TRIES, endpoints) || (wrong.size === endpoints && endpoints > 1))
        throw result.error;
      if (wrong.size === endpoints) wrong.clear();
      options.onNote?.({ kind: 'again', file: file.path });
    }
  };
  const onWait = () => options.onNote?.({ kind: 'elsewhere', file: file.path });
  const { signal } = options;
  await storage.exclusive(place, work, { onWait, ...(signal && { signal }) });
  options.onProgress?.(file.bytes, 0);
}

/** Whether a file is there in its full length. */
export async function hasFile(storage: Storage, place: string, bytes: number): Promise<boolean> {
  if (!(await storage.exists(place))) return false;
  return (await storage.open(place)).bytes === bytes;
}

/** The hash as the hub takes it: git's has the length before the content. */
export function startContentHash(storage: Storage, { hash, bytes }: HubFile): StreamHash {
  const started = storage.startHash?.(hash.kind) ?? streamHash(hash.kind);
  if (hash.kind === 'sha1') started.update(new TextEncoder().encode(`blob ${bytes}\0`));
  return started;
}

/** Hashes a file piece by piece. @throws AlloyError `cancelled` */
export async function feed(
  hash: StreamHash,
  source: FileSource,
  signal: AbortSignal | undefined,
  onProgress?: (done: number) => void,
): Promise<void> {
  for (let at = 0; at < source.bytes; at += PIECE_BYTES) {
    const stopped = abortError(signal);
    if (stopped) throw stopped;
    hash.update(await source.read(at, Math.min(PIECE_BYTES, source.bytes - at)));
    onProgress?.(Math.min(source.bytes, at + PIECE_BYTES));
  }
}

interface Wrong {
  readonly error: AlloyError;
  /** Indices of those that gave something of it, in their order; none where it was all there before. */
  readonly endpoints: ReadonlySet<number>;
}

/**
 * Brings a part to its end.
 * @param leftOut endpoints that sent a wrong content before
 * @returns undefined when the file is there, or what was wrong with the content, which is then gone
 */
async function transfer(
  job: Download,
  options: DownloadOptions,
  leftOut: ReadonlySet<number>,
): Promise<Wrong | undefined> {
  const { client, storage, place, file } = job;
  const hash = startContentHash(storage, file);
  const start = await goOnFrom(job, hash, options);
  const writer = await storage.create(place, { resume: true });
  const endpoints = new Set<number>();
  let wrong =
    writer.bytes === start ? undefined : `its part has ${writer.bytes} bytes where ${start} were read`;
  try {
    const onWait = (seconds: number, reason: string) =>
      options.onNote?.({ kind: 'waiting', file: file.path, seconds, reason });
    const attempts = client.attempts({ signal: options.signal, onWait });
    attempts.leaveOut(leftOut);
    while (wrong === undefined && writer.bytes < file.bytes) {
      wrong = await receive(job, { writer, hash, attempts, options, endpoints });
    }
    if (wrong === undefined) {
      const found = hash.hex();
      if (found === file.hash.hex) {
        await writer.commit();
        return undefined;
      }
      wrong = `its content has the ${file.hash.kind} ${found.slice(0, 12)}…, not ${file.hash.hex.slice(0, 12)}…`;
    }
  } catch (error) {
    await writer.abort({ keepPart: true });
    throw error;
  }
  await writer.abort();
  return { error: contentError(job, wrong), endpoints };
}

/** Hashes what an earlier try left. @returns its length */
async function goOnFrom(
  { storage, place, file }: Download,
  hash: StreamHash,
  options: DownloadOptions,
): Promise<number> {
  const part = await storage.openPart(place);
  if (!part) return 0;
  if (part.bytes > file.bytes) {
    await storage.remove(place);
    return 0;
  }
  await feed(hash, part, options.signal, (done) => options.onProgress?.(done, 0));
  return part.bytes;
}

interface Reception {
  readonly writer: StorageWriter;
  readonly hash: StreamHash;
  readonly attempts: Attempts;
  readonly options: DownloadOptions;
  /** Gets the endpoint that gives something. */
  readonly endpoints: Set<number>;
}

/**
 * Asks for what is missing and takes what comes until the connection ends.
 * @returns what makes the content a wrong one, if anything does
 */
async function receive(
  job: Download,
  { writer, hash, attempts, options, endpoints }: Reception,
): Promise<string | undefined> {
  const { client, id, commit, file } = job;
  const { signal } = options;
  const path = filePath(id, commit, file.path);
  const subject: Subject = { id, revision: commit, file: file.path };
  const start = writer.bytes;
  const headers: Record<string, string> = start > 0 ? { Range: `bytes=${start}-` } : {};
  const response = await client.open(path, subject, attempts, headers, signal);
  endpoints.delete(attempts.endpoint);
  endpoints.add(attempts.endpoint);
  const endpoint = client.endpoints[attempts.endpoint] ?? '';
  if (response.status === 416) {
    await response.body?.cancel().catch(() => undefined);
    return `it ends there before byte ${start}`;
  }
  const range = rangeOf(response, start);
  if (range.total !== undefined && range.total !== file.bytes) {
    await response.body?.cancel().catch(() => undefined);
    return `it has ${range.total} bytes there, not ${file.bytes}`;
  }
  if (range.start > start) {
    await response.body?.cancel().catch(() => undefined);
    await attempts.failed(
      unreachable(endpoint, subject, new Error('the server sends another range than the one asked for')),
    );
    return undefined;
  }
  let skip = start - range.start;
  const reader = (response.body ?? new Blob([]).stream()).getReader() as ReadableStreamDefaultReader<
    Uint8Array<ArrayBuffer>
  >;
  let failure: unknown = new Error('the connection ended early');
  try {
    for (;;) {
      const next = await client.read(reader, signal).catch((error: unknown) => {
        failure = error;
        return undefined;
      });
      if (next?.value === undefined) break;
      const bytes = next.value.subarray(Math.min(skip, next.value.length));
      skip -= next.value.length - bytes.length;
      if (bytes.length === 0) continue;
      if (writer.bytes + bytes.length > file.bytes)
        return `it is longer than the ${file.bytes} bytes that the hub says`;
      hash.update(bytes);
      await writer.write(bytes);
      attempts.progress();
      options.onProgress?.(writer.bytes, bytes.length);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
  const stopped = abortError(signal);
  if (stopped) throw stopped;
  if (writer.bytes < file.bytes) await attempts.failed(unreachable(endpoint, subject, failure));
  return undefined;
}

/**
 * Where a response's content starts, and how long the whole file is, where it says. A
 * server without ranges sends it whole.
 */
function rangeOf(response: Response, asked: number): { start: number; total?: number } {
  const header = response.headers.get('Content-Range') ?? '';
  const total = /\/(\d+)$/u.exec(header)?.[1];
  const whole = total === undefined ? {} : { total: Number(total) };
  if (response.status === 200) return { start: 0 };
  const from = /^bytes (\d+)-/u.exec(header)?.[1];
  // Browsers hide the header where the server does not expose it; the hash decides then.
  return { start: from === undefined ? asked : Number(from), ...whole };
}

function contentError({ id, commit, file }: Download, what: string): AlloyError {
  return new AlloyError(
    'bad-file',
    `${file.path} of ${id} (${commit.slice(0, 8)}) did not come as the hub says: ${what}; it was removed. Try again later, or use another endpoint.`,
  );
}
