/**
 * How long dispatches take on the device at hand, learnt while they run, and how they are cut into submits from it. A
 * dispatch that was never seen is submitted alone, in parts if it is large, and timed; once known, neighbours share a
 * submit up to `TARGET_MS`, and one that takes longer by itself is run in parts. Every later submit corrects what is known.
 */
import type { Grid } from '../kernel.ts';

/** How long one submit should keep the device busy: far from the browsers' watchdogs, long enough to hide its cost. */
const TARGET_MS = 120;
/** A dispatch that does not fit behind others is cut into pieces of about this, so that every submit is filled. */
const PIECE_MS = TARGET_MS / 8;
/** Programs are cut anew when a submit is known to take so many times `TARGET_MS`. */
const TOO_LONG = 1.25;
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
  /** How often the innermost loop of a workgroup turns, about. */
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
      const { length, size } = piecesOf(step, groupsOf(step) / atOnce);
      for (let from = 0; from < length; from += size) submits.push([partOf(step, from, from + size)]);
      continue;
    }
    const { length, size } = piecesOf(step, sum + ms <= TARGET_MS ? 1 : ms / PIECE_MS);
    for (let from = 0; from < length; ) {
      const fitting = Math.floor((TARGET_MS - sum) / ((ms * size) / length));
      if (fitting < 1 && current.length > 0) {
        flush();
        continue;
      }
      const part = partOf(step, from, from + size * Math.max(1, fitting));
      current.push(part);
      sum += part.share * ms;
      from += size * Math.max(1, fitting);
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

/** The longest side of a dispatch. */
function axisOf({ grid }: { readonly grid: Grid }): 0 | 1 | 2 {
  return grid[0] >= grid[1] && grid[0] >= grid[2] ? 0 : grid[1] >= grid[2] ? 1 : 2;
}

/** At least `count` equal pieces along the longest side, a power of two so that few different places are needed. */
function piecesOf(step: { readonly grid: Grid }, count: number): { length: number; size: number } {
  const length = step.grid[axisOf(step)];
  const size = Math.ceil(length / Math.min(length, 2 ** Math.ceil(Math.log2(Math.max(1, count)))));
  return { length, size };
}

/** A stretch of the longest side. */
function partOf<S extends Costed>(step: S, from: number, until: number): Part<S> {
  const { grid } = step;
  const axis = axisOf(step);
  const here = Math.min(until, grid[axis]) - from;
  const along = (value: number, [x, y, z]: Grid): Grid => [
    axis === 0 ? value : x,
    axis === 1 ? value : y,
    axis === 2 ? value : z,
  ];
  return { step, base: along(from, [0, 0, 0]), grid: along(here, grid), share: here / grid[axis] };
}

/** No dispatch counts as less: browsers let the device's clock tick in steps of a tenth of a millisecond. */
const LEAST_MS = 0.04;

/** What dispatches take on one device, by what they do. */
export class SubmitClock {
  readonly #onSubmit: (ms: number) => void;
  readonly #costs = new Map<string, DispatchCost>();
  #doneAt = 0;
  #version = 0;

  /** @param onSubmit hears how long each submit kept the device busy, as the device or else the host sees it */
  constructor(onSubmit: (ms: number) => void) {
    this.#onSubmit = onSubmit;
  }

  /** Another number whenever programs should be cut anew. */
  get version(): number {
    return this.#version;
  }

  /** @param key the same for dispatches that do the same work */
  costOf(key: string): DispatchCost {
    const known = this.#costs.get(key);
    if (known) return known;
    const made: DispatchCost = { ms: undefined, measured: false };
    this.#costs.set(key, made);
    return made;
  }

  /**
   * To be told of every submit: what it takes corrects what is known, as far as it was known.
   * @param timed whether a stopwatch tells `learn` how long it took; the host may hear of it late, while it still encodes
   */
  submitted(parts: readonly Part<Costed>[], done: Promise<undefined>, timed = false): void {
    const submittedAt = performance.now();
    done.then(
      () => {
        const now = performance.now();
        const ms = now - Math.max(submittedAt, this.#doneAt);
        this.#doneAt = now;
        if (timed) return;
        this.#onSubmit(ms);
        if (correct(parts, ms) > TOO_LONG * TARGET_MS) this.#version++;
      },
      () => undefined,
    );
  }

  /** Takes over what the parts took; those beyond the times given are timed by another run. */
  learn(timed: Iterable<Part<Costed>>, times: readonly number[]): void {
    this.#version++;
    const sums = new Map<DispatchCost, { ms: number; share: number }>();
    let at = 0;
    for (const { step, share } of timed) {
      const sum = sums.get(step.cost) ?? { ms: 0, share: 0 };
      sums.set(step.cost, sum);
      const ms = times[at++];
      if (ms === undefined) continue;
      this.#onSubmit(ms);
      sum.ms += ms;
      sum.share += share;
    }
    for (const [cost, { ms, share }] of sums) {
      cost.measured = false;
      if (share > 0) cost.ms = Math.max(LEAST_MS, ms / share);
    }
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

/**
 * Moves what is known of the dispatches of a submit a part of the way to what it took. Times that the host sees are too
 * long where it is busy, so they count little, except that a submit which was far too long must not come again.
 * @returns how long the same submit would take now, ms; 0 where that is not known
 */
function correct(parts: readonly Part<Costed>[], ms: number): number {
  let expected = 0;
  for (const { step, share } of parts) {
    if (step.cost.ms === undefined) return 0;
    expected += share * step.cost.ms;
  }
  const ratio = ms / Math.max(expected, 1);
  const factor =
    ms > 2 * TARGET_MS ? Math.min(16, ratio) : Math.min(1.3, Math.max(0.9, 1 + 0.2 * (ratio - 1)));
  for (const { step } of parts) {
    if (step.cost.ms !== undefined) step.cost.ms = Math.max(LEAST_MS, step.cost.ms * factor);
  }
  return expected * factor;
}
