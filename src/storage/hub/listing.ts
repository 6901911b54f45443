import { z } from 'zod';
import { AlloyError } from '../../util/errors.ts';
import type { HashKind } from '../../util/streamHash.ts';
import type { HubClient, RequestOptions, Subject } from './client.ts';
import { isCommit } from './reference.ts';

/** What a file's content must hash to. */
export interface ContentHash {
  /** `sha256` of the content (large files), or git's `sha1` of `blob LENGTH\0` and the content. */
  readonly kind: HashKind;
  readonly hex: string;
}

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  readonly hash: ContentHash;
}

/** What a repository holds at one commit. */
export interface HubListing {
  readonly id: string;
  readonly commit: string;
  readonly files: readonly HubFile[];
  readonly licence?: string | undefined;
  /** Whether its terms have to be accepted on the hub's page. */
  readonly gated: boolean;
  /** The number formats of its tensors, such as `BF16`, where the hub says. */
  readonly dtypes?: readonly string[] | undefined;
}

const hex = (digits: number) => z.string().regex(new RegExp(`^[\\da-f]{${digits}}$`, 'u'));
const count = z.int().nonnegative();

const hashSchema = z.union([
  z.object({ kind: z.literal('sha256'), hex: hex(64) }),
  z.object({ kind: z.literal('sha1'), hex: hex(40) }),
]);
export const fileSchema = z.object({ path: z.string(), bytes: count, hash: hashSchema });
export const listingSchema = z.object({
  id: z.string(),
  commit: hex(40),
  files: z.array(fileSchema),
  licence: z.string().optional(),
  gated: z.boolean(),
  dtypes: z.array(z.string()).optional(),
});

/** The list of files says `sha256`, that of the tree `oid`. */
const lfsSchema = z.object({
  sha256: z.string().nullish(),
  oid: z.string().nullish(),
  size: count.nullish(),
});
type Lfs = z.infer<typeof lfsSchema> | null | undefined;

/** Fields of the hub's answers; what is not named here is ignored. */
const siblingSchema = z.object({
  rfilename: z.string(),
  size: count.nullish(),
  blobId: hex(40).nullish().catch(undefined),
  lfs: lfsSchema.nullish(),
});
const infoSchema = z.object({
  sha: hex(40),
  siblings: z.array(siblingSchema).nullish(),
  gated: z.union([z.boolean(), z.string()]).nullish(),
  cardData: z.looseObject({ license: z.unknown() }).nullish().catch(undefined),
  tags: z.array(z.string()).nullish().catch(undefined),
  safetensors: z
    .object({ parameters: z.record(z.string(), z.number()) })
    .nullish()
    .catch(undefined),
});
const treeSchema = z.array(
  z.object({
    type: z.string(),
    path: z.string(),
    size: count.nullish(),
    oid: hex(40).nullish().catch(undefined),
    lfs: lfsSchema.nullish(),
  }),
);
const MOST_PAGES = 1000;

/**
 * Asks the hub which commit a revision is and what it holds.
 * @throws AlloyError `no-network`, `no-access`, `missing-file`
 */
export async function fetchListing(
  client: HubClient,
  id: string,
  revision: string,
  options: RequestOptions,
): Promise<HubListing> {
  const subject: Subject = { id, revision };
  const path = `/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { value } = await client.json(path, subject, options);
  const parsed = infoSchema.safeParse(value);
  if (!parsed.success) throw strange(id, parsed.error);
  const { sha, siblings, gated, cardData, tags, safetensors } = parsed.data;
  if (isCommit(revision) && sha !== revision) {
    throw new AlloyError(
      'bad-file',
      `${client.endpoints[0]} answers with the commit ${sha} of ${id} where ${revision} was asked for; try again, or use another endpoint.`,
    );
  }
  const known = (siblings ?? []).map(({ rfilename, size, blobId, lfs }) =>
    describe(rfilename, size, blobId, lfs),
  );
  const files = await completeFiles(client, { id, commit: sha }, known, options);
  const card = typeof cardData?.license === 'string' ? cardData.license : undefined;
  const licence = card ?? tags?.find((tag) => tag.startsWith('license:'))?.slice('license:'.length);
  return {
    id,
    commit: sha,
    files,
    gated: gated !== undefined && gated !== null && gated !== false && gated !== 'False',
    ...(licence !== undefined && { licence }),
    ...(safetensors && { dtypes: Object.keys(safetensors.parameters) }),
  };
}

/** A file as far as it is described. */
interface Described {
  readonly path: string;
  readonly file: HubFile | undefined;
}

function describe(path: string, size: unknown, blob: unknown, lfs: Lfs): Described {
  // For large files the blob is a pointer to them, so its hash says nothing about the content.
  const sha256 = (lfs?.sha256 ?? lfs?.oid)?.replace(/^sha256:/u, '');
  const hash = lfs ? { kind: 'sha256', hex: sha256 } : { kind: 'sha1', hex: blob };
  return { path, file: fileSchema.safeParse({ path, bytes: lfs?.size ?? size, hash }).data };
}

/** Mirrors may not tell sizes and hashes with the model: then the tree is asked, and then each file that matters. */
async function completeFiles(
  client: HubClient,
  repository: { readonly id: string; readonly commit: string },
  known: readonly Described[],
  options: RequestOptions,
): Promise<HubFile[]> {
  const complete = (list: readonly Described[]) => list.length > 0 && list.every(({ file }) => file);
  let list = known;
  if (!complete(list)) {
    try {
      list = await fetchTree(client, repository, options);
    } catch (error) {
      if (!(error instanceof AlloyError && error.code === 'missing-file' && known.length > 0)) throw error;
    }
  }
  const files: HubFile[] = [];
  for (const { path, file } of list) {
    if (file) files.push(file);
    else if (MATTERS.test(path)) files.push(await askFile(client, repository, path, options));
  }
  return files;
}

/** Files that a model is made of. */
const MATTERS = /(?:\.(?:safetensors|gguf|json|jinja|model)|merges\.txt)$/iu;

async function fetchTree(
  client: HubClient,
  { id, commit }: { readonly id: string; readonly commit: string },
  options: RequestOptions,
): Promise<Described[]> {
  const list: Described[] = [];
  let path: string | undefined = `/api/models/${id}/tree/${commit}?recursive=true`;
  for (let pages = 0; path !== undefined && pages < MOST_PAGES; pages++) {
    const answer: { value: unknown; next: string | undefined } = await client.json(
      path,
      { id, revision: commit },
      options,
    );
    const parsed = treeSchema.safeParse(answer.value);
    if (!parsed.success) throw strange(id, parsed.error);
    for (const { type, path: name, size, oid, lfs } of parsed.data) {
      if (type === 'file') list.push(describe(name, size, oid, lfs));
    }
    path = answer.next;
  }
  return list;
}

/** Size and hash as the headers of a file tell them. Browsers hide those of an answer that leads to another host. */
async function askFile(
  client: HubClient,
  { id, commit }: { readonly id: string; readonly commit: string },
  path: string,
  options: RequestOptions,
): Promise<HubFile> {
  const headers = await client.head(
    filePath(id, commit, path),
    { id, revision: commit, file: path },
    options,
  );
  const tag = (headers.get('X-Linked-ETag') ?? headers.get('ETag') ?? '').replace(/^W\/|"/gu, '');
  const size = headers.get('X-Linked-Size') ?? headers.get('Content-Length');
  const hash = { kind: tag.length === 64 ? 'sha256' : 'sha1', hex: tag };
  const file = fileSchema.safeParse({ path, bytes: size === null ? undefined : Number(size), hash }).data;
  if (file) return file;
  throw new AlloyError(
    'unsupported',
    `The endpoint does not say which size and hash ${path} of ${id} has, so a download could not be checked; use another endpoint.`,
  );
}

/** Where a file lies below the endpoint. */
export function filePath(id: string, commit: string, path: string): string {
  return `/${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
}

function strange(id: string, error: z.ZodError): AlloyError {
  const [issue] = error.issues;
  const field = issue?.path.map(String).join('.') || 'the document';
  return new AlloyError(
    'no-network',
    `What the endpoint says about ${id} is not what the hub says (${field}: ${issue?.message}); check that it is an endpoint of the hub.`,
  );
}
