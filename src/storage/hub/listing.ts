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
  /** Bytes of its tensors by number format, such as `{BF16: …}`, where the hub says. */
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

/** Fields of the hub's answers; what is not named here is ignored. */
const siblingSchema = z.object({
  rfilename: z.string(),
  size: count.nullish(),
  blobId: hex(40).nullish().catch(undefined),
  lfs: z
    .object({ sha256: hex(64), size: count.nullish() })
    .nullish()
    .catch(undefined),
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
    lfs: z.object({ oid: z.string(), size: count.nullish() }).nullish().catch(undefined),
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
  const own = (siblings ?? []).map(fromSibling);
  const files =
    own.length > 0 && own.every((file) => file !== undefined)
      ? own
      : await fetchTree(client, id, sha, options);
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

function fromSibling({ rfilename, size, blobId, lfs }: z.infer<typeof siblingSchema>): HubFile | undefined {
  const bytes = lfs?.size ?? size;
  if (bytes === null || bytes === undefined) return undefined;
  // For large files the blob is a pointer to them, so its hash says nothing about the content.
  if (lfs) return { path: rfilename, bytes, hash: { kind: 'sha256', hex: lfs.sha256 } };
  return blobId ? { path: rfilename, bytes, hash: { kind: 'sha1', hex: blobId } } : undefined;
}

/** The same from the list of the repository's tree, page by page: mirrors may not know sizes and hashes otherwise. */
async function fetchTree(
  client: HubClient,
  id: string,
  commit: string,
  options: RequestOptions,
): Promise<HubFile[]> {
  const files: HubFile[] = [];
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
      if (type !== 'file') continue;
      const bytes = lfs?.size ?? size;
      const sha256 = lfs?.oid.replace(/^sha256:/u, '');
      const hash = sha256
        ? ({ kind: 'sha256', hex: sha256 } as const)
        : oid
          ? ({ kind: 'sha1', hex: oid } as const)
          : undefined;
      const file = fileSchema.safeParse({ path: name, bytes, hash });
      if (!file.success) {
        throw new AlloyError(
          'unsupported',
          `The endpoint does not say which size and hash ${name} of ${id} has, so a download could not be checked; use another endpoint.`,
        );
      }
      files.push(file.data);
    }
    path = answer.next;
  }
  return files;
}

function strange(id: string, error: z.ZodError): AlloyError {
  const [issue] = error.issues;
  const field = issue?.path.map(String).join('.') || 'the document';
  return new AlloyError(
    'no-network',
    `What the endpoint says about ${id} is not what the hub says (${field}: ${issue?.message}); check that it is an endpoint of the hub.`,
  );
}
