/** Jobs that must not overlap, one after the other in the order of asking. */
export class Lock {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs a job when those before it have ended, however they ended. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#last.then(job);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
