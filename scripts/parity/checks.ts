/** One comparison with a recorded reference. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  readonly detail: string;
}

/** Collects comparisons and tells those that fail. */
export class Checks {
  readonly #tell: (line: string) => void;
  readonly all: Check[] = [];
  readonly skipped: string[] = [];

  constructor(tell: (line: string) => void = console.log) {
    this.#tell = tell;
  }

  get failed(): readonly Check[] {
    return this.all.filter((check) => !check.passed);
  }

  skip(name: string, why: string): void {
    this.skipped.push(`${name}: ${why}`);
    this.#tell(`skip  ${name}: ${why}`);
  }

  add(name: string, passed: boolean, detail = ''): void {
    this.all.push({ name, passed, detail });
    if (!passed) this.#tell(`FAIL  ${name}  ${detail}`);
  }

  /** Passes when every element differs by at most `tolerance`. NaN and a wrong length fail. */
  close(
    name: string,
    got: ArrayLike<number>,
    want: ArrayLike<number>,
    tolerance: number,
    only?: (i: number) => boolean,
  ): void {
    if (got.length !== want.length) {
      this.add(name, false, `${got.length} elements instead of ${want.length}`);
      return;
    }
    let worst = 0;
    let at = -1;
    for (let i = 0; i < want.length; i++) {
      if (only && !only(i)) continue;
      const difference = Math.abs((got[i] ?? Number.NaN) - (want[i] ?? Number.NaN));
      if (!(difference <= worst)) {
        worst = difference;
        at = i;
      }
    }
    const ok = worst <= tolerance;
    this.add(name, ok, `off by ${worst.toExponential(2)} at ${at}, allowed ${tolerance.toExponential(2)}`);
  }

  /** Runs one case; an exception fails it and the others go on. */
  async guard(name: string, run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.add(name, false, error instanceof Error ? error.message : String(error));
    }
  }
}

export function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i] ?? 0));
  return most;
}
