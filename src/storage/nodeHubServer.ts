/**
 * For tests: a server on this machine that behaves like the Hugging Face hub, with a second one, on another port and so of
 * another origin, for the contents of large files. What goes wrong with a request is up to `fault`.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export type HubContent = Readonly<Record<string, Uint8Array | string>>;

/** A request as the servers saw it. */
export interface SeenRequest {
  readonly host: 'hub' | 'cdn';
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** What happens instead of the right answer. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** The connection ends after so many bytes of the body, and a while for them to arrive. */
  | { readonly kind: 'cut'; readonly after: number; readonly ms?: number }
  /** Another content is sent, with headers that fit it. */
  | { readonly kind: 'content'; readonly content: Uint8Array }
  /** Ranges are ignored. */
  | { readonly kind: 'whole' }
  /** Nothing comes after so many bytes of the body. */
  | { readonly kind: 'stall'; readonly after: number }
  /** The body comes in pieces of so many bytes, with a pause before each. */
  | { readonly kind: 'slow'; readonly bytes: number; readonly ms: number };

interface Stored {
  readonly content: Uint8Array;
  readonly sha1: string;
  readonly sha256: string;
  readonly large: boolean;
}

interface Repository {
  readonly revisions: Map<string, string>;
  readonly commits: Map<string, ReadonlyMap<string, Stored>>;
  token?: string;
}

const EXPOSED =
  'X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash';
const LARGE = /\.(?:safetensors|gguf|bin)$/u;
const PAGE_FILES = 3;

export class HubServer {
  readonly requests: SeenRequest[] = [];
  /** Asked for every request but preflights. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  /** Whether model information tells sizes and hashes; mirrors may not. */
  tellsBlobs = true;
  readonly #repositories = new Map<string, Repository>();
  readonly #renamed = new Map<string, string>();
  readonly #contents = new Map<string, Uint8Array>();
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#take('hub', request, response));
    this.#cdn = createServer((request, response) => this.#take('cdn', request, response));
  }

  static async start(port = 0): Promise<HubServer> {
    const server = new HubServer();
    await Promise.all([listen(server.#hub, port), listen(server.#cdn, port === 0 ? 0 : port + 1)]);
    return server;
  }

  get endpoint(): string {
    return address(this.#hub);
  }

  get cdn(): string {
    return address(this.#cdn);
  }

  /** Commits files under a revision. @returns the commit */
  commit(id: string, files: HubContent, revision = 'main'): string {
    const stored = new Map(Object.entries(files).map(([path, content]) => [path, store(path, content)]));
    const summary = [...stored].map(([path, { sha256 }]) => `${path} ${sha256}`).join('\n');
    const commit = sha('sha1', new TextEncoder().encode(`${id}\n${summary}`));
    const repository = this.#repositories.get(id) ?? { revisions: new Map(), commits: new Map() };
    repository.revisions.set(revision, commit);
    repository.commits.set(commit, stored);
    this.#repositories.set(id, repository);
    for (const { sha256, content } of stored.values()) this.#contents.set(sha256, content);
    return commit;
  }

  /** Lets files of a model be had with a token alone. */
  gate(id: string, token: string): void {
    const repository = this.#repositories.get(id);
    if (repository) repository.token = token;
  }

  rename(from: string, to: string): void {
    const repository = this.#repositories.get(from);
    if (repository) this.#repositories.set(to, repository);
    this.#repositories.delete(from);
    this.#renamed.set(from, to);
  }

  async close(): Promise<void> {
    await Promise.all(
      [this.#hub, this.#cdn].map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        return closed;
      }),
    );
  }

  #take(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): void {
    const { method = 'GET', url: path = '/', headers } = request;
    const origin = host === 'cdn' ? '*' : headers.origin;
    if (origin !== undefined) response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Vary', 'Origin');
    response.setHeader('Access-Control-Expose-Headers', EXPOSED);
    // The hosts of the contents do not answer preflights, so requests must not need one after they were redirected.
    if (method === 'OPTIONS' && host === 'cdn') {
      response.writeHead(403).end();
      return;
    }
    if (method === 'OPTIONS') {
      response.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, OPTIONS');
      response.setHeader('Access-Control-Allow-Headers', headers['access-control-request-headers'] ?? '*');
      response.writeHead(204).end();
      return;
    }
    const seen: SeenRequest = { host, method, path, headers };
    this.requests.push(seen);
    const fault = this.fault(seen);
    if (fault?.kind === 'status') {
      response.writeHead(fault.status, { 'Content-Type': 'application/json', ...fault.headers });
      response.end(JSON.stringify({ error: 'on purpose' }));
      return;
    }
    const url = new URL(path, 'http://hub');
    if (host === 'cdn') this.#sendContent(seen, url, response, fault);
    else this.#answer(seen, url, response, fault);
  }

  #answer(seen: SeenRequest, url: URL, response: ServerResponse, fault: Fault | undefined): void {
    const names = url.pathname.split('/').slice(1).map(decodeURIComponent);
    const api = names[0] === 'api' && names[1] === 'models';
    const cached = names[0] === 'api' && names[1] === 'resolve-cache';
    const rest = cached ? names.slice(3) : api ? names.slice(2) : names;
    const id = `${rest[0]}/${rest[1]}`;
    const moved = this.#renamed.get(id);
    if (moved) {
      const location = url.pathname.replace(id, moved) + url.search;
      response.writeHead(307, { Location: location }).end();
      return;
    }
    const repository = this.#repositories.get(id);
    if (!repository) {
      refuse(response, 401, 'RepoNotFound', 'Repository not found');
      return;
    }
    const [kind, revision = 'main', ...file] = cached ? ['cached', ...rest.slice(2)] : rest.slice(2);
    const commit = repository.revisions.get(revision) ?? revision;
    const files = repository.commits.get(commit);
    if (!files) refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    else if (api && kind === 'tree') this.#sendTree(response, commit, files, url);
    else if (api) this.#sendInfo(response, { id, commit, files, repository, url, fault, seen });
    else if (!cached && kind !== 'resolve') refuse(response, 404, 'EntryNotFound', 'No such page');
    else this.#resolve(seen, response, { id, repository, path: file.join('/'), commit, cached, fault });
  }

  #resolve(
    seen: SeenRequest,
    response: ServerResponse,
    asked: {
      readonly id: string;
      readonly repository: Repository;
      readonly path: string;
      readonly commit: string;
      readonly cached: boolean;
      readonly fault: Fault | undefined;
    },
  ): void {
    const { id, repository, path, commit, cached, fault } = asked;
    if (repository.token !== undefined && seen.headers.authorization !== `Bearer ${repository.token}`) {
      refuse(
        response,
        seen.headers.authorization ? 403 : 401,
        'GatedRepo',
        `Access to model ${id} is restricted.`,
      );
      return;
    }
    const file = repository.commits.get(commit)?.get(path);
    if (!file) {
      refuse(response, 404, 'EntryNotFound', 'Entry not found');
      return;
    }
    response.setHeader('X-Repo-Commit', commit);
    if (file.large) {
      response.writeHead(302, {
        Location: `${this.cdn}/xet/${file.sha256}?X-Amz-Signature=${this.requests.length}`,
        'X-Linked-Size': file.content.length,
        'X-Linked-ETag': `"${file.sha256}"`,
        'X-Xet-Hash': file.sha256,
        ETag: `"${file.sha1}"`,
      });
      response.end();
      return;
    }
    if (!cached) {
      const place = path.split('/').map(encodeURIComponent).join('/');
      response.writeHead(307, {
        Location: `/api/resolve-cache/models/${id}/${commit}/${place}?etag=%22${file.sha1}%22`,
        'X-Linked-Size': file.content.length,
        'X-Linked-ETag': `"${file.sha1}"`,
      });
      response.end();
      return;
    }
    sendBody(seen, response, file.content, `W/"${file.sha1}"`, fault);
  }

  #sendInfo(
    response: ServerResponse,
    asked: {
      readonly id: string;
      readonly commit: string;
      readonly files: ReadonlyMap<string, Stored>;
      readonly repository: Repository;
      readonly url: URL;
      readonly fault: Fault | undefined;
      readonly seen: SeenRequest;
    },
  ): void {
    const { id, commit, files, url, fault } = asked;
    const { token } = asked.repository;
    const blobs = this.tellsBlobs && url.searchParams.get('blobs') === 'true';
    const siblings = [...files].map(([rfilename, { content, sha1, sha256, large }]) => ({
      rfilename,
      ...(blobs && {
        size: content.length,
        blobId: sha1,
        ...(large && { lfs: { sha256, size: content.length, pointerSize: 134 } }),
      }),
    }));
    const info = {
      _id: '0123',
      id,
      modelId: id,
      sha: commit,
      private: false,
      gated: token === undefined ? false : 'manual',
      tags: ['license:apache-2.0'],
      siblings,
    };
    const bytes = new TextEncoder().encode(JSON.stringify(info));
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    sendBody(asked.seen, response, bytes, 'W/"x"', fault);
  }

  #sendTree(response: ServerResponse, commit: string, files: ReadonlyMap<string, Stored>, url: URL): void {
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const entries = [...files]
      .slice(from, from + PAGE_FILES)
      .map(([path, { content, sha1, sha256, large }]) => ({
        type: 'file',
        oid: sha1,
        size: content.length,
        path,
        ...(large && { lfs: { oid: sha256, size: content.length, pointerSize: 134 } }),
      }));
    const next = new URL(url.pathname, this.endpoint);
    next.searchParams.set('recursive', 'true');
    next.searchParams.set('cursor', `${from + PAGE_FILES}`);
    if (from + PAGE_FILES < files.size) response.setHeader('Link', `<${next.href}>; rel="next"`);
    response.setHeader('X-Repo-Commit', commit);
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify([{ type: 'directory', oid: commit, size: 0, path: 'folder' }, ...entries]));
  }

  #sendContent(seen: SeenRequest, url: URL, response: ServerResponse, fault: Fault | undefined): void {
    const content = this.#contents.get(url.pathname.split('/').at(-1) ?? '');
    if (!content || !url.searchParams.has('X-Amz-Signature'))
      return void response.writeHead(403).end('<Error/>');
    sendBody(seen, response, content, '"a-tag-of-the-cdn"', fault);
  }
}

function sendBody(
  { headers }: SeenRequest,
  response: ServerResponse,
  right: Uint8Array,
  tag: string,
  fault: Fault | undefined,
): void {
  const asked = fault?.kind === 'content' ? fault.content : right;
  // Small files come packed to whoever takes that, and then without their length; parts never do.
  const packed =
    tag.startsWith('W/') && headers.range === undefined && /\bgzip\b/u.test(`${headers['accept-encoding']}`);
  const content = packed ? gzipSync(asked) : asked;
  const range = fault?.kind === 'whole' ? undefined : /^bytes=(\d+)-(\d*)$/u.exec(headers.range ?? '');
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(content.length, range?.[2] ? Number(range[2]) + 1 : content.length);
  if (range && start >= content.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
    return;
  }
  response.writeHead(range ? 206 : 200, {
    ETag: tag,
    ...(packed ? { 'Content-Encoding': 'gzip' } : { 'Content-Length': end - start }),
    ...(fault?.kind !== 'whole' && { 'Accept-Ranges': 'bytes' }),
    ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${content.length}` }),
  });
  const body = content.subarray(start, end);
  if (fault?.kind === 'cut') {
    const { ms } = fault;
    const end = () => void response.destroy();
    response.write(body.subarray(0, fault.after), () => (ms ? void setTimeout(end, ms) : end()));
  } else if (fault?.kind === 'stall') response.write(body.subarray(0, fault.after));
  else if (fault?.kind === 'slow') drip(response, body, fault);
  else response.end(body);
}

function drip(
  response: ServerResponse,
  body: Uint8Array,
  { bytes, ms }: { bytes: number; ms: number },
): void {
  let at = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(at, at + bytes));
    at += bytes;
    if (at < body.length) return;
    clearInterval(timer);
    response.end();
  }, ms);
  response.on('close', () => clearInterval(timer));
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'X-Error-Code': code,
    'X-Error-Message': message,
  });
  response.end(JSON.stringify({ error: message }));
}

function store(path: string, text: Uint8Array | string): Stored {
  const content = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const blob = Buffer.concat([Buffer.from(`blob ${content.length}\0`), content]);
  // Of a large file the git blob is a pointer, whose hash is none of the content's.
  const large = LARGE.test(path);
  const sha1 = sha('sha1', large ? Buffer.from(`pointer to ${path} ${content.length}`) : blob);
  return { content, sha1, sha256: sha('sha256', content), large };
}

function sha(kind: 'sha1' | 'sha256', bytes: Uint8Array): string {
  return createHash(kind).update(bytes).digest('hex');
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
