/** Seconds left of a job of `total` equal parts, from the mean pace so far; undefined until there is one. */
export class TimeLeft {
  readonly #total: number;
  readonly #now: () => number;
  #first: { at: number; done: number } | undefined;

  /** @param now milliseconds of a monotonic clock */
  constructor(total: number, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#now = now;
  }

  /** Call with the number of finished parts; the first call starts the clock. */
  update(done: number): number | undefined {
    const at = this.#now();
    this.#first ??= { at, done };
    const parts = done - this.#first.done;
    if (parts <= 0) return undefined;
    return ((at - this.#first.at) / 1000 / parts) * (this.#total - done);
  }
}
