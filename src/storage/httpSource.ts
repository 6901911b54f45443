import { AlloyError } from '../util/errors.ts';
import type { FileSource } from './storage.ts';
import { checkRange } from './storageHelpers.ts';

export interface HttpOptions {
  /** Bytes asked for at once; what was read last is kept, so that neighbouring reads share a request. */
  readonly blockBytes?: number;
  readonly fetch?: typeof globalThis.fetch;
  /** Waits before the second and third try of a request that failed on the way. */
  readonly pausesMs?: readonly number[];
}

const BLOCK_BYTES = 16 * 1024 * 1024;
const PAUSES_MS = [300, 1500];
const OK = 200;
const PARTIAL = 206;
const NOT_FOUND = [404, 410];
const UNSATISFIABLE = 416;

interface Block {
  readonly start: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * A file behind an address, read by ranges. A file that fits one block is read with one request; a server without ranges
 * sends it whole.
 * @returns null where there is no such file
 * @throws AlloyError `missing-file` when the server cannot be reached or refuses
 */
export async function httpSource(
  url: string,
  name = nameOf(url),
  options: HttpOptions = {},
): Promise<FileSource | null> {
  const remote = new RemoteFile(url, name, options);
  return (await remote.open()) ? remote : null;
}

class RemoteFile implements FileSource {
  readonly name: string;
  bytes = 0;
  readonly #url: string;
  readonly #fetch: typeof globalThis.fetch;
  readonly #blockBytes: number;
  readonly #pausesMs: readonly number[];
  #tag: string | null = null;
  #block: Block = { start: 0, bytes: new Uint8Array(0) };

  constructor(url: string, name: string, { fetch, blockBytes, pausesMs }: HttpOptions) {
    this.name = name;
    this.#url = url;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.#blockBytes = blockBytes ?? BLOCK_BYTES;
    this.#pausesMs = pausesMs ?? PAUSES_MS;
  }

  /** Reads the first block and with it the size. @returns whether there is such a file */
  async open(): Promise<boolean> {
    const response = await this.#request(0, this.#blockBytes);
    if (NOT_FOUND.includes(response.status) || this.#isPage(response)) {
      await response.body?.cancel();
      return false;
    }
    if (response.status === UNSATISFIABLE) return true;
    this.#checkStatus(response);
    this.#tag = response.headers.get('ETag');
    const bytes = new Uint8Array(await response.arrayBuffer());
    const total = /\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '')?.[1];
    if (response.status === PARTIAL && total === undefined) {
      throw new AlloyError('missing-file', `${this.#url}: the server does not say how long the file is.`);
    }
    this.bytes = total === undefined ? bytes.length : Number(total);
    this.#block = { start: 0, bytes };
    return true;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    checkRange(this, offset, length);
    let block = this.#block;
    if (offset < block.start || offset + length > block.start + block.bytes.length) {
      block = await this.#readBlock(offset, Math.max(length, this.#blockBytes));
      this.#block = block;
    }
    const from = offset - block.start;
    return block.bytes.slice(from, from + length);
  }

  async #readBlock(start: number, most: number): Promise<Block> {
    const length = Math.min(most, this.bytes - start);
    const response = await this.#request(start, length);
    this.#checkStatus(response);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const tag = response.headers.get('ETag');
    if (response.status !== PARTIAL || bytes.length !== length || tag !== this.#tag) {
      throw new AlloyError('bad-file', `${this.name}: the file changed while it was read; reload the page.`);
    }
    return { start, bytes };
  }

  /** One request, tried again when the connection fails or the server is overloaded. */
  async #request(start: number, length: number): Promise<Response> {
    const headers = { Range: `bytes=${start}-${start + length - 1}` };
    for (let attempt = 0; ; attempt++) {
      const pauseMs = this.#pausesMs[attempt];
      try {
        const response = await this.#fetch(this.#url, { headers });
        if (response.status < 500 || pauseMs === undefined) return response;
      } catch (cause) {
        if (pauseMs === undefined) {
          throw new AlloyError(
            'missing-file',
            `${this.#url} cannot be read; check the connection and try again.`,
            { cause },
          );
        }
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** Servers of single-page applications answer every unknown address with their page. */
  #isPage(response: Response): boolean {
    const type = response.headers.get('Content-Type') ?? '';
    return type.startsWith('text/html') && !/\.html?$/u.test(this.name);
  }

  #checkStatus(response: Response): void {
    if (response.status === OK || response.status === PARTIAL) return;
    throw new AlloyError(
      'missing-file',
      `${this.#url} cannot be read (the server answers ${response.status}); try again later.`,
    );
  }
}

function nameOf(url: string): string {
  return (
    url
      .replace(/[?#].*$/u, '')
      .split('/')
      .at(-1) || url
  );
}
