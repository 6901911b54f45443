/**
 * What the cache knows beside the files' contents, below `hub/OWNER--NAME/`:
 * `refs.json` which commit a branch or tag was last, `listings/COMMIT.json` what a commit holds, `models/COMMIT.KEY.json`
 * which files a downloaded form of the model has, `blobs/HASH` their contents.
 */
import { z } from 'zod';
import type { Storage } from '../storage.ts';
import { readJson, writeFile } from '../storageHelpers.ts';
import { type ContentHash, fileSchema, type HubFile, type HubListing, listingSchema } from './listing.ts';
import { SAFETENSORS } from './variants.ts';

export const HUB_FOLDER = 'hub';

/** A form of a model that is in the cache, or on its way there. */
export interface HubRecord {
  readonly id: string;
  readonly commit: string;
  /** `safetensors`, or the path of a GGUF or ONNX file. */
  readonly key: string;
  readonly label: string;
  readonly files: readonly HubFile[];
  /** Whether all files had been there; then `files` names every one of them. */
  readonly complete: boolean;
  /** Of all files together; an estimate until it is complete. */
  readonly bytes: number;
  readonly licence?: string | undefined;
  /** What it was asked for as, such as `main`. */
  readonly revision: string;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
  /** What a reader of the model wants to know of it without opening it. */
  readonly card?: unknown;
}

const recordSchema = z
  .object({
    version: z.literal(1),
    id: z.string(),
    commit: z.string(),
    key: z.string(),
    label: z.string(),
    files: z.array(fileSchema),
    complete: z.boolean(),
    bytes: z.number(),
    licence: z.string().optional(),
    revision: z.string(),
    usedAt: z.number(),
    card: z.unknown().optional(),
  })
  .transform(({ version: _, ...record }): HubRecord => record);
const refsSchema = z.object({ version: z.literal(1), commits: z.record(z.string(), z.string()) });

export function folderOf(id: string): string {
  return `${HUB_FOLDER}/${id.replace('/', '--')}`;
}

export function blobPlace(id: string, { hex }: ContentHash): string {
  return `${folderOf(id)}/blobs/${hex}`;
}

function recordPlace({ id, commit, key }: Pick<HubRecord, 'id' | 'commit' | 'key'>): string {
  return `${folderOf(id)}/models/${commit}.${encodeURIComponent(key)}.json`;
}

/** The text that names exactly this: its files at its commit. */
export function pinnedText({ id, commit, key }: Pick<HubRecord, 'id' | 'commit' | 'key'>): string {
  return key === SAFETENSORS ? `hub:${id}@${commit}` : `hub:${id}/${key}@${commit}`;
}

/** Damaged or unknown documents count as not there: the hub has them. */
async function readAs<T>(storage: Storage, path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  if (!(await storage.exists(path))) return undefined;
  const document = await readJson(await storage.open(path)).catch(() => undefined);
  return schema.safeParse(document).data;
}

const write = (storage: Storage, path: string, value: object) =>
  storage.exclusive(path, () =>
    writeFile(storage, path, `${JSON.stringify({ version: 1, ...value }, null, 1)}\n`),
  );

export function readRecord(
  storage: Storage,
  of: Pick<HubRecord, 'id' | 'commit' | 'key'>,
): Promise<HubRecord | undefined> {
  return readAs(storage, recordPlace(of), recordSchema);
}

export function writeRecord(storage: Storage, record: HubRecord): Promise<void> {
  return write(storage, recordPlace(record), record);
}

export function removeRecord(storage: Storage, record: HubRecord): Promise<void> {
  return storage.remove(recordPlace(record));
}

export async function listRecords(storage: Storage): Promise<HubRecord[]> {
  const records: HubRecord[] = [];
  for (const { path } of await storage.list(HUB_FOLDER)) {
    if (!/^hub\/[^/]+\/models\/[^/]+\.json$/u.test(path)) continue;
    const record = await readAs(storage, path, recordSchema);
    if (record) records.push(record);
  }
  return records;
}

export async function readCommit(
  storage: Storage,
  id: string,
  revision: string,
): Promise<string | undefined> {
  const refs = await readAs(storage, `${folderOf(id)}/refs.json`, refsSchema);
  return refs?.commits[revision];
}

/** The branch or tag that was this commit when it was last asked for; the commit where there is none. */
export async function revisionOf(storage: Storage, id: string, commit: string): Promise<string> {
  const refs = await readAs(storage, `${folderOf(id)}/refs.json`, refsSchema);
  return Object.entries(refs?.commits ?? {}).find(([, known]) => known === commit)?.[0] ?? commit;
}

export async function writeCommit(
  storage: Storage,
  id: string,
  revision: string,
  commit: string,
): Promise<void> {
  const path = `${folderOf(id)}/refs.json`;
  const refs = await readAs(storage, path, refsSchema);
  if (refs?.commits[revision] === commit) return;
  await write(storage, path, { commits: { ...refs?.commits, [revision]: commit } });
}

export function readListing(storage: Storage, id: string, commit: string): Promise<HubListing | undefined> {
  return readAs(storage, `${folderOf(id)}/listings/${commit}.json`, listingSchema);
}

export async function writeListing(storage: Storage, listing: HubListing): Promise<void> {
  const path = `${folderOf(listing.id)}/listings/${listing.commit}.json`;
  if (!(await storage.exists(path))) await write(storage, path, listing);
}
