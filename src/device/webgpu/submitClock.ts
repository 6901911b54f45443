/**
 * How long dispatches take on the device at hand, learnt while they run, and how they are cut into submits from it. A
 * dispatch that was never seen is submitted alone, in parts if it is large, and timed; once known, neighbours share a
 * submit up to `TARGET_MS`, and one that takes longer by itself is run in parts. Every later submit corrects what is known.
 */
import type { Grid } from '../kernel.ts';

/** How long one submit should keep the device busy: far from the browsers' watchdogs, long enough to hide its cost. */
const TARGET_MS = 120;
/**
 * Workgroups of a dispatch that was never seen which are submitted at once, where their loops turn `SHORT_LOOP` times at
 * most; the longer the loops, the fewer, down to a share of `LEAST_SHARE`. Chosen for two slow cores, and for graphics
 * built into a processor.
 */
const UNKNOWN_GROUPS = { software: 256, gpu: 16_384 };
const SHORT_LOOP = 64;
const LEAST_SHARE = 1 / 64;

/** What is known of a dispatch. */
export interface DispatchCost {
  /** Undefined until it was measured. */
  ms: number | undefined;
  /** Whether a run that is under way measures it. */
  measured: boolean;
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
  /** How often the longest loop of a workgroup turns, about. */
  readonly turns: number;
  readonly cost: DispatchCost;
}

/** How a program is cut: `groups` always, where it is given. */
export interface CutOptions {
  readonly software: boolean;
  readonly groups: number | undefined;
}

/** Cuts dispatches into submits of about `TARGET_MS`. */
export function cutIntoSubmits<S extends Costed>(steps: readonly S[], options: CutOptions): Part<S>[][] {
  const unknown = UNKNOWN_GROUPS[options.software ? 'software' : 'gpu'];
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
    if (ms === undefined) {
      flush();
      const atOnce = options.groups ?? unknown * Math.max(LEAST_SHARE, Math.min(1, SHORT_LOOP / step.turns));
      for (const part of partsOf(step, groupsOf(step) / atOnce)) submits.push([part]);
      continue;
    }
    for (const part of partsOf(step, ms / TARGET_MS)) {
      if (sum + part.share * ms > TARGET_MS) flush();
      current.push(part);
      sum += part.share * ms;
    }
  }
  flush();
  return submits;
}

function groupsOf({ grid }: { readonly grid: Grid }): number {
  return grid[0] * grid[1] * grid[2];
}

/** A first idea of how much longer one part takes than another. */
export function guessedWork({ step, grid }: Part<Costed>): number {
  return groupsOf({ grid }) * Math.max(1, step.turns);
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

/** No dispatch counts as less: browsers let the device's clock tick in steps of a tenth of a millisecond. */
const LEAST_MS = 0.04;

/** What dispatches take on one device, by what they do. */
export class SubmitClock {
  readonly #onSubmit: (ms: number) => void;
  readonly #costs = new Map<string, DispatchCost>();
  #doneAt = 0;

  /** @param onSubmit hears how long each submit kept the device busy, as the host sees it */
  constructor(onSubmit: (ms: number) => void) {
    this.#onSubmit = onSubmit;
  }

  /** @param key the same for dispatches that do the same work */
  costOf(key: string): DispatchCost {
    const known = this.#costs.get(key);
    if (known) return known;
    const made: DispatchCost = { ms: undefined, measured: false };
    this.#costs.set(key, made);
    return made;
  }

  /** To be told of every submit: what it takes corrects what is known, as far as it was known. */
  submitted(parts: readonly Part<Costed>[], done: Promise<undefined>): void {
    const submittedAt = performance.now();
    done.then(
      () => {
        const now = performance.now();
        const ms = now - Math.max(submittedAt, this.#doneAt);
        this.#doneAt = now;
        this.#onSubmit(ms);
        correct(parts, ms);
      },
      () => undefined,
    );
  }
}

/** Parts that this run should time: of every dispatch that was never timed, one occurrence. */
export function partsToTime<S extends Costed>(submits: readonly (readonly Part<S>[])[]): Set<Part<S>> {
  const timed = new Set<Part<S>>();
  const stepOf = new Map<DispatchCost, S>();
  for (const [part] of submits) {
    if (!part || part.step.cost.ms !== undefined || part.step.cost.measured) continue;
    const { cost } = part.step;
    if (!stepOf.has(cost)) stepOf.set(cost, part.step);
    if (stepOf.get(cost) === part.step) timed.add(part);
  }
  for (const cost of stepOf.keys()) cost.measured = true;
  return timed;
}

/** Takes over what the parts took; those beyond the times given are timed by another run. */
export function learn(timed: Iterable<Part<Costed>>, times: readonly number[]): void {
  const sums = new Map<DispatchCost, { ms: number; share: number }>();
  let at = 0;
  for (const { step, share } of timed) {
    const sum = sums.get(step.cost) ?? { ms: 0, share: 0 };
    sums.set(step.cost, sum);
    const ms = times[at++];
    if (ms === undefined) continue;
    sum.ms += ms;
    sum.share += share;
  }
  for (const [cost, { ms, share }] of sums) {
    cost.measured = false;
    if (share > 0) cost.ms = Math.max(LEAST_MS, ms / share);
  }
}

/**
 * Moves what is known of the dispatches of a submit a part of the way to what it took. Times that the host sees are too
 * long where it is busy, so they count little, except that a submit which was far too long must not come again.
 */
function correct(parts: readonly Part<Costed>[], ms: number): void {
  let expected = 0;
  for (const { step, share } of parts) {
    if (step.cost.ms === undefined) return;
    expected += share * step.cost.ms;
  }
  const ratio = ms / Math.max(expected, 1);
  const factor =
    ms > 2 * TARGET_MS ? Math.min(16, ratio) : Math.min(1.3, Math.max(0.9, 1 + 0.2 * (ratio - 1)));
  for (const { step } of parts) {
    if (step.cost.ms !== undefined) step.cost.ms = Math.max(LEAST_MS, step.cost.ms * factor);
  }
}
