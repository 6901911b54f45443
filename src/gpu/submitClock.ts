/**
 * How long dispatches take on the device at hand, learnt while they run, and how they are cut into submits from it. A
 * dispatch that was never seen is submitted alone, in parts if it is large; once known, neighbours share a submit up to
 * `TARGET_MS`, and one that takes longer by itself is run in parts. Every later submit corrects what is known.
 */
import type { Grid } from './kernel.ts';

/** How long one submit should keep the device busy: far from the browsers' watchdogs, long enough to hide its cost. */
const TARGET_MS = 120;
/** Workgroups of a dispatch that was never seen which are submitted at once. */
const UNKNOWN_GROUPS = { software: 256, gpu: 65_536 };

/** What is known of a dispatch: undefined until all its parts were measured once. */
export interface DispatchCost {
  ms: number | undefined;
  /** What the parts of the first run took so far, and how much of the dispatch they were; undefined outside it. */
  first: { ms: number; share: number } | undefined;
}

/** Some workgroups of a dispatch. */
export interface Part<S> {
  readonly step: S;
  readonly base: Grid;
  readonly grid: Grid;
  /** 0..1 of the dispatch. */
  readonly share: number;
}

interface Costed {
  readonly grid: Grid;
  readonly cost: DispatchCost;
}

/** How a program is cut: `groups` always, where it is given. */
export interface CutOptions {
  readonly software: boolean;
  readonly groups: number | undefined;
}

/** Cuts dispatches into submits of about `TARGET_MS`. */
export function cutIntoSubmits<S extends Costed>(steps: readonly S[], options: CutOptions): Part<S>[][] {
  const unknown = options.groups ?? UNKNOWN_GROUPS[options.software ? 'software' : 'gpu'];
  const submits: Part<S>[][] = [];
  let current: Part<S>[] = [];
  let sum = 0;
  const flush = () => {
    if (current.length > 0) submits.push(current);
    current = [];
    sum = 0;
  };
  for (const step of steps) {
    const ms = options.groups === undefined ? step.cost.ms : undefined;
    if (ms === undefined || ms > TARGET_MS) {
      flush();
      const groups = step.grid[0] * step.grid[1] * step.grid[2];
      const parts = partsOf(step, ms === undefined ? groups / unknown : ms / TARGET_MS);
      for (const part of parts) submits.push([part]);
      continue;
    }
    if (sum + ms > TARGET_MS) flush();
    current.push({ step, base: [0, 0, 0], grid: step.grid, share: 1 });
    sum += ms;
  }
  flush();
  return submits;
}

/** At least `count` equal parts along the longest side, a power of two so that few different places are needed. */
function partsOf<S extends Costed>(step: S, count: number): Part<S>[] {
  const { grid } = step;
  const axis = grid[0] >= grid[1] && grid[0] >= grid[2] ? 0 : grid[1] >= grid[2] ? 1 : 2;
  const length = grid[axis];
  const size = Math.ceil(length / Math.min(length, 2 ** Math.ceil(Math.log2(Math.max(1, count)))));
  const parts: Part<S>[] = [];
  for (let from = 0; from < length; from += size) {
    const here = Math.min(size, length - from);
    const along = (value: number, other: Grid): Grid => [
      axis === 0 ? value : other[0],
      axis === 1 ? value : other[1],
      axis === 2 ? value : other[2],
    ];
    parts.push({ step, base: along(from, [0, 0, 0]), grid: along(here, grid), share: here / length });
  }
  return parts;
}

/** Times submits, which a device runs in order, by when each is done. */
export class SubmitClock {
  readonly #onSubmit: (ms: number) => void;
  readonly #costs = new Map<string, DispatchCost>();
  #doneAt = 0;

  /** @param onSubmit hears how long each submit kept the device busy */
  constructor(onSubmit: (ms: number) => void) {
    this.#onSubmit = onSubmit;
  }

  /** @param key the same for dispatches that do the same work */
  costOf(key: string): DispatchCost {
    const known = this.#costs.get(key);
    if (known) return known;
    const made: DispatchCost = { ms: undefined, first: undefined };
    this.#costs.set(key, made);
    return made;
  }

  submitted(parts: readonly Part<Costed>[], done: Promise<undefined>): void {
    const submittedAt = performance.now();
    const [only] = parts;
    const learns = only && only.step.cost.ms === undefined && !this.#isLearnt(only);
    if (learns) only.step.cost.first ??= { ms: 0, share: 0 };
    done.then(
      () => {
        const now = performance.now();
        const ms = now - Math.max(submittedAt, this.#doneAt);
        this.#doneAt = now;
        this.#onSubmit(ms);
        if (learns) learnFirst(only, ms);
        else correct(parts, ms);
      },
      () => undefined,
    );
  }

  /** Whether an earlier run, still under way, measures the dispatch already. */
  #isLearnt({ step, base }: Part<Costed>): boolean {
    return step.cost.first !== undefined && base.every((at) => at === 0);
  }
}

function learnFirst({ step: { cost }, share }: Part<Costed>, ms: number): void {
  if (!cost.first) return;
  cost.first.ms += ms;
  cost.first.share += share;
  if (cost.first.share < 0.999) return;
  cost.ms = cost.first.ms / cost.first.share;
  cost.first = undefined;
}

/** Moves what is known of the dispatches of a submit a part of the way to what it took. */
function correct(parts: readonly Part<Costed>[], ms: number): void {
  let expected = 0;
  for (const { step, share } of parts) expected += share * (step.cost.ms ?? 0);
  if (expected < 1) return;
  const factor = Math.min(2, Math.max(0.75, 1 + 0.3 * (ms / expected - 1)));
  for (const { step } of parts) if (step.cost.ms !== undefined) step.cost.ms *= factor;
}
