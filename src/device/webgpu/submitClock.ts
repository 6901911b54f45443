/**
 * How long dispatches take on the device at hand, learnt while they run, and how they are cut into submits from it. A
 * dispatch that was never seen is submitted alone, in parts if it is large, and timed; once known, neighbours share a
 * submit up to `TARGET_MS`, and one that takes longer by itself is run in parts. Every later submit corrects what is known.
 */
import type { Grid } from '../kernel.ts';

/** How long one submit should keep the device busy: far from the browsers' watchdogs, long enough to hide its cost. */
const TARGET_MS = 60;
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
      for (const part of partsOf(step, groupsOf(step) / atOnce)) submits.push([part]);
      continue;
    }
    // Along one side as fine as it goes, along two only where that is too long.
    const pieces = Math.min(ms / PIECE_MS, Math.max(...step.grid, ms / TARGET_MS));
    for (const part of partsOf(step, sum + ms <= TARGET_MS ? 1 : pieces)) {
      if (sum + part.share * ms > TARGET_MS) flush();
      const joined = join(current.at(-1), part);
      if (joined) current.pop();
      current.push(joined ?? part);
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

/**
 * At least `count` parts of nearly the same size, where there are so many workgroups: along the longest side, and where
 * that is too short, along the next too. Their number along a side is a power of two, so that few different places are
 * needed.
 */
function partsOf<S extends Costed>(step: S, count: number): Part<S>[] {
  const { grid } = step;
  const axes = ([0, 1, 2] as const).toSorted((a, b) => grid[b] - grid[a]);
  let parts: Part<S>[] = [{ step, base: [0, 0, 0], grid, share: 1 }];
  for (const axis of axes) {
    const missing = count / parts.length;
    if (missing > 1) parts = parts.flatMap((part) => cutAlong(part, axis, missing));
  }
  return parts;
}

function cutAlong<S>(part: Part<S>, axis: 0 | 1 | 2, count: number): Part<S>[] {
  const length = part.grid[axis];
  const size = Math.ceil(length / Math.min(length, 2 ** Math.ceil(Math.log2(count))));
  return Array.from({ length: Math.ceil(length / size) }, (_, index) => {
    const here = Math.min(size, length - index * size);
    return {
      step: part.step,
      base: withSide(part.base, axis, part.base[axis] + index * size),
      grid: withSide(part.grid, axis, here),
      share: (part.share * here) / length,
    };
  });
}

function withSide([x, y, z]: Grid, axis: 0 | 1 | 2, value: number): Grid {
  return [axis === 0 ? value : x, axis === 1 ? value : y, axis === 2 ? value : z];
}

/** Two parts as one, where the second goes on along a side where the first ends. */
function join<S>(first: Part<S> | undefined, second: Part<S>): Part<S> | undefined {
  if (first?.step !== second.step) return undefined;
  const sides = [0, 1, 2] as const;
  const [axis, ...more] = sides.filter((side) => first.base[side] !== second.base[side]);
  if (axis === undefined || more.length > 0 || first.base[axis] + first.grid[axis] !== second.base[axis]) {
    return undefined;
  }
  if (sides.some((side) => side !== axis && first.grid[side] !== second.grid[side])) return undefined;
  const grid = withSide(first.grid, axis, first.grid[axis] + second.grid[axis]);
  return { ...first, grid, share: first.share + second.share };
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
   * @param timed whether the device's clock tells `learn` how long it took: the host may hear of it late, while it encodes
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

  /**
   * Takes over what the parts took; those beyond the times given are timed by another run.
   * @param ofDevice whether the times are those of the device's clock, and the host was not asked
   */
  learn(timed: Iterable<Part<Costed>>, times: readonly number[], ofDevice = false): void {
    this.#version++;
    if (ofDevice) times.forEach(this.#onSubmit);
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
  // Once each, however many dispatches of the submit do the same work.
  for (const cost of new Set(parts.map(({ step }) => step.cost))) {
    if (cost.ms !== undefined) cost.ms = Math.max(LEAST_MS, cost.ms * factor);
  }
  return expected * factor;
}
