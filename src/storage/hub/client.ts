/**
 * Requests to the Hugging Face hub or a mirror of it, over `fetch` alone so that it runs in Node and in the browser. Both
 * follow redirects to the hosts of the files themselves and keep the token from them.
 */
import { AlloyError } from '../../util/errors.ts';
import { abortError } from '../storageHelpers.ts';
import { Attempts, askedWaitMs, PATIENCE, type Patience } from './attempts.ts';
import { refusal, unreachable } from './hubErrors.ts';

export interface HubOptions {
  /** Where the hub is, the first that answers: `https://huggingface.co`, a mirror of it. No slash at the end. */
  readonly endpoints: readonly string[];
  /** For gated and private models. It is sent to the endpoints alone. */
  readonly token?: string;
  /** Where a person gives it, for errors that ask for one: `with --token`. */
  readonly tokenPlace?: string | undefined;
  readonly fetch?: typeof globalThis.fetch;
  readonly patience?: Partial<Patience>;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called before a pause of a second or more. */
  readonly onWait?: ((seconds: number, reason: string) => void) | undefined;
  /** Whether there is something to fall back on: every endpoint is tried once, and not waited for long. */
  readonly brief?: boolean | undefined;
}

/** What a request is about, for errors. */
export interface Subject {
  /** `owner/name` */
  readonly id: string;
  readonly revision: string;
  readonly file?: string;
}

export class HubClient {
  readonly endpoints: readonly string[];
  readonly #token: string | undefined;
  readonly #tokenPlace: string | undefined;
  readonly #fetch: typeof globalThis.fetch;
  readonly #patience: Patience;

  constructor({ endpoints, token, tokenPlace, fetch, patience }: HubOptions) {
    this.endpoints = endpoints.map(checkedEndpoint);
    if (this.endpoints.length === 0)
      throw new AlloyError('bad-argument', 'No endpoint of the hub is given; name one.');
    this.#token = token === undefined || token.trim() === '' ? undefined : checkedToken(token.trim());
    this.#tokenPlace = tokenPlace;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.#patience = { ...PATIENCE, ...patience };
  }

  attempts(options: RequestOptions): Attempts {
    const { stallMs } = this.#patience;
    const brief = { rounds: 1, stallMs: Math.min(stallMs, BRIEF_STALL_MS) };
    const patience = options.brief ? { ...this.#patience, ...brief } : this.#patience;
    return new Attempts(this.endpoints.length, patience, options);
  }

  /**
   * A JSON document.
   * @param path below the endpoint, with a slash at its start
   * @returns with the address of the next page where the server names one, as a path like `path`
   */
  async json(
    path: string,
    subject: Subject,
    options: RequestOptions = {},
  ): Promise<{ value: unknown; next: string | undefined }> {
    const attempts = this.attempts(options);
    for (;;) {
      const response = await this.open(
        path,
        subject,
        attempts,
        { Accept: 'application/json' },
        options.signal,
      );
      const endpoint = this.endpoints[attempts.endpoint] ?? '';
      try {
        const text = await stalling(() => response.text(), attempts.stallMs, options.signal);
        return { value: JSON.parse(text) as unknown, next: nextPage(response.headers, endpoint) };
      } catch (cause) {
        const stopped = abortError(options.signal);
        if (stopped) throw stopped;
        if (cause instanceof SyntaxError) {
          attempts.refused(
            new AlloyError(
              'no-network',
              `${endpoint} answers with something that is no JSON; check that it is an endpoint of the hub, and that no login page of the network is in the way.`,
              { cause },
            ),
          );
        } else await attempts.failed(unreachable(endpoint, subject, cause), 0);
      }
    }
  }

  /** What the hub says of a file in the headers of its first answer, before it leads elsewhere. */
  async head(path: string, subject: Subject, options: RequestOptions = {}): Promise<Headers> {
    const attempts = this.attempts(options);
    const how = { method: 'HEAD', redirect: 'manual' } as const;
    let place = path;
    for (let steps = 0; ; steps++) {
      const response = await this.open(
        place,
        subject,
        attempts,
        { 'Accept-Encoding': 'identity' },
        options.signal,
        how,
      );
      const location = response.headers.get('Location');
      const told = response.headers.has('X-Linked-ETag') || location === null || !location.startsWith('/');
      if (told || steps === MOST_REDIRECTS) return response.headers;
      place = location;
    }
  }

  /**
   * Opens a response, however often it has to be asked for.
   * @returns one whose status says that it has the content (200 or 206), or 416
   * @throws AlloyError `no-network`, `no-access`, `missing-file`, `cancelled`
   */
  async open(
    path: string,
    subject: Subject,
    attempts: Attempts,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
    how: Pick<RequestInit, 'method' | 'redirect'> = {},
  ): Promise<Response> {
    for (;;) {
      const stopped = abortError(signal);
      if (stopped) throw stopped;
      const endpoint = this.endpoints[attempts.endpoint] ?? '';
      let response: Response;
      try {
        response = await this.#request(endpoint + path, headers, attempts.stallMs, signal, how);
      } catch (cause) {
        const ended = abortError(signal);
        if (ended) throw ended;
        await attempts.failed(unreachable(endpoint, subject, cause));
        continue;
      }
      const { status } = response;
      const led = how.redirect === 'manual' && status >= 300 && status < 400;
      if (status === 200 || status === 206 || status === 416 || led) return response;
      const error = await refusal(response, endpoint, subject, {
        given: this.#token !== undefined,
        place: this.#tokenPlace,
      });
      if (passes(response, endpoint)) await attempts.failed(error, askedWaitMs(response.headers));
      else attempts.refused(error);
    }
  }

  /** The next piece of a body, null at its end. @throws when nothing comes for too long */
  read(
    reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
    signal: AbortSignal | undefined,
  ): Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> {
    return stalling(() => reader.read(), this.#patience.stallMs, signal);
  }

  async #request(
    url: string,
    headers: Readonly<Record<string, string>>,
    stallMs: number,
    signal: AbortSignal | undefined,
    how: Pick<RequestInit, 'method' | 'redirect'>,
  ): Promise<Response> {
    const own = new AbortController();
    const stop = () => own.abort(abortError(signal));
    signal?.addEventListener('abort', stop, { once: true });
    const authorization = this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` };
    try {
      const response = this.#fetch(url, {
        headers: { ...headers, ...authorization },
        signal: own.signal,
        redirect: 'follow',
        ...how,
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
        // The storage is the cache; the browser's own would keep the weights a second time.
        cache: 'no-store',
      });
      response.catch(() => undefined);
      return await stalling(
        () => response,
        stallMs,
        signal,
        () => own.abort(),
      );
    } finally {
      // The body goes on to be read after this; who reads it looks at the signal.
      signal?.removeEventListener('abort', stop);
    }
  }
}

/** Waits for something as long as the network may be silent. */
function stalling<T>(
  start: () => Promise<T>,
  stallMs: number,
  signal: AbortSignal | undefined,
  onStall?: () => void,
): Promise<T> {
  const stopped = abortError(signal);
  if (stopped) return Promise.reject(stopped);
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      onStall?.();
      reject(new Error(`nothing came for ${Math.round(stallMs / 1000)} s`));
    }, stallMs);
    const stop = () => reject(abortError(signal));
    signal?.addEventListener('abort', stop, { once: true });
    start()
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
      });
  });
}

const MOST_REDIRECTS = 5;
const BRIEF_STALL_MS = 8000;
const TRANSIENT = [408, 409, 421, 425, 429];

/** Whether asking again may help. */
function passes(response: Response, endpoint: string): boolean {
  const { status } = response;
  if (status >= 500 || TRANSIENT.includes(status)) return true;
  // Addresses that the hub redirects to are signed for a short while: a new one comes with the next try.
  const elsewhere = response.redirected && originOf(response.url) !== originOf(endpoint);
  return elsewhere && (status === 400 || status === 401 || status === 403 || status === 410);
}

/** The `next` of a `Link` header; mirrors may name the hub itself there, so only its path is taken. */
function nextPage(headers: Headers, endpoint: string): string | undefined {
  const link = /<([^>]+)>\s*;[^,]*\brel="?next"?/u.exec(headers.get('Link') ?? '')?.[1];
  if (link === undefined) return undefined;
  const base = new URL(`${endpoint}/`);
  const url = new URL(link, base);
  const path = url.pathname.startsWith(base.pathname)
    ? url.pathname.slice(base.pathname.length - 1)
    : url.pathname;
  return path + url.search;
}

function originOf(url: string): string {
  try {
    return new URL(url).origin;
  } catch {
    return '';
  }
}

function checkedEndpoint(endpoint: string): string {
  const plain = endpoint.trim().replace(/\/+$/u, '');
  try {
    const { protocol, username, search, hash } = new URL(plain);
    if (/^https?:$/u.test(protocol) && username === '' && search === '' && hash === '') return plain;
  } catch {
    // Told below.
  }
  throw new AlloyError(
    'bad-argument',
    `"${endpoint}" is no endpoint of the hub; give an address such as https://huggingface.co.`,
  );
}

/** Header values cannot have line breaks and the like; the token itself is never shown. */
function checkedToken(token: string): string {
  if (/^[\x21-\x7e]+$/u.test(token)) return token;
  throw new AlloyError(
    'bad-argument',
    'The token of the hub has characters that no token has; copy it again.',
  );
}
