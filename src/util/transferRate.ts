const WINDOW_MS = 8000;
const LEAST_MS = 500;

interface Sample {
  readonly at: number;
  readonly received: number;
}

/** How fast bytes come, over the last seconds, and how long the rest will take at that pace. */
export class TransferRate {
  readonly #now: () => number;
  readonly #samples: Sample[] = [];

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * @param received bytes that came over the network since the start
   * @param missing bytes that are still to come
   * @returns undefined while nobody can tell
   */
  update(
    received: number,
    missing: number,
  ): { readonly bytesPerSecond: number; readonly secondsLeft: number } | undefined {
    const at = this.#now();
    this.#samples.push({ at, received });
    while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    if (!first || at - first.at < LEAST_MS || received <= first.received) return undefined;
    const bytesPerSecond = (1000 * (received - first.received)) / (at - first.at);
    return { bytesPerSecond, secondsLeft: missing / bytesPerSecond };
  }
}
