import type { AlloyError } from '../../util/errors.ts';
import { sleep } from '../storageHelpers.ts';

/** How patient requests are; tests give their own clock. */
export interface Patience {
  /** How often every endpoint is tried before giving up, as long as nothing comes. */
  readonly rounds: number;
  /** The pause before the second round; it doubles with each. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** A server that asks to wait longer than this is not waited for. */
  readonly longestWaitMs: number;
  /** A connection on which nothing comes for so long is given up. */
  readonly stallMs: number;
  /** Resolves after a while. @throws AlloyError `cancelled` */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

export const PATIENCE: Patience = {
  rounds: 5,
  firstPauseMs: 400,
  longestPauseMs: 20_000,
  longestWaitMs: 10 * 60_000,
  stallMs: 30_000,
  sleep,
  random: Math.random,
};

/** The tries of one thing over a list of endpoints: which is next, how long to wait, and when it is enough. */
export class Attempts {
  readonly #endpoints: number;
  readonly #patience: Patience;
  readonly #onWait: ((seconds: number, reason: string) => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  /** Since something last came. */
  #failures = 0;
  #waitMs = 0;
  #moving = false;
  readonly #left = new Set<number>();
  #refusal: AlloyError | undefined;
  #endpoint = 0;

  constructor(
    endpoints: number,
    patience: Patience,
    options: {
      signal?: AbortSignal | undefined;
      onWait?: ((seconds: number, reason: string) => void) | undefined;
    },
  ) {
    this.#endpoints = endpoints;
    this.#patience = patience;
    this.#signal = options.signal;
    this.#onWait = options.onWait;
  }

  /** How long nothing may come. */
  get stallMs(): number {
    return this.#patience.stallMs;
  }

  /** Index of the endpoint whose turn it is. */
  get endpoint(): number {
    return this.#endpoint;
  }

  /** Leaves endpoints out. At least one has to stay. */
  leaveOut(endpoints: Iterable<number>): void {
    for (const endpoint of endpoints) this.#left.add(endpoint);
    if (this.#left.has(this.#endpoint)) this.#next();
  }

  /** Something came: later failures start to count anew. */
  progress(): void {
    this.#failures = 0;
    this.#waitMs = 0;
    this.#moving = true;
  }

  /**
   * A try failed in a way that may pass.
   * @param askedMs how long the server asks to wait
   * @throws the error when it was the last try
   */
  async failed(error: AlloyError, askedMs = 0): Promise<void> {
    this.#failures++;
    this.#waitMs = Math.max(this.#waitMs, askedMs);
    const open = this.#endpoints - this.#left.size;
    this.#next();
    if (this.#failures >= this.#patience.rounds * open) throw error;
    // Other endpoints are asked at once; only a whole round without success is waited after.
    if (this.#failures % open !== 0) return;
    const { firstPauseMs, longestPauseMs, longestWaitMs, random } = this.#patience;
    if (this.#waitMs > longestWaitMs) throw error;
    const round = this.#failures / open - 1;
    // A connection that gave something before it broke is taken up again at once, almost.
    const first = this.#moving ? firstPauseMs / 4 : firstPauseMs;
    this.#moving = false;
    const pauseMs = Math.min(longestPauseMs, first * 2 ** round) * (0.5 + 0.5 * random());
    // What a server asks for is the least; a little more keeps clients from coming back all at once.
    const ms = this.#waitMs > 0 ? this.#waitMs + 0.1 * pauseMs : pauseMs;
    this.#waitMs = 0;
    if (ms >= 1000) this.#onWait?.(Math.ceil(ms / 1000), error.message);
    await this.#patience.sleep(ms, this.#signal);
  }

  /** An endpoint will not give it however often it is asked. @throws the first such error when none is left */
  refused(error: AlloyError): void {
    this.#refusal ??= error;
    this.#left.add(this.#endpoint);
    if (this.#left.size === this.#endpoints) throw this.#refusal;
    this.#next();
  }

  #next(): void {
    do this.#endpoint = (this.#endpoint + 1) % this.#endpoints;
    while (this.#left.has(this.#endpoint));
  }
}

/** What a server asks to wait, in milliseconds: `Retry-After` (seconds or a date), or the `t` of `RateLimit`. */
export function askedWaitMs(headers: Headers, now = Date.now()): number {
  const after = headers.get('Retry-After')?.trim();
  if (after && /^\d+(?:\.\d+)?$/u.test(after)) return Number(after) * 1000;
  const date = after ? Date.parse(after) : Number.NaN;
  if (!Number.isNaN(date)) return Math.max(0, date - now);
  const limit = /(?:^|[;,\s])t=(\d+)/u.exec(headers.get('RateLimit') ?? '');
  return limit ? Number(limit[1]) * 1000 : 0;
}
