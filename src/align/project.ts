import type { VocabularyMap } from './vocabularyMap.ts';

/** `sum`: mass of colliding entries adds up (methods J5). `first-wins`: the more likely one alone (A.5). */
export type CollisionRule = 'sum' | 'first-wins';

/** A sparse distribution over the pivot's vocabulary under construction; cleared and filled again for every row. */
export class SparseRow {
  readonly ids: number[] = [];
  readonly probabilities: number[] = [];

  clear(): void {
    this.ids.length = 0;
    this.probabilities.length = 0;
  }

  get(id: number): number {
    const at = this.ids.indexOf(id);
    return at < 0 ? 0 : (this.probabilities[at] ?? 0);
  }

  has(id: number): boolean {
    return this.ids.includes(id);
  }

  add(id: number, probability: number): void {
    const at = this.ids.indexOf(id);
    if (at < 0) {
      this.ids.push(id);
      this.probabilities.push(probability);
    } else this.probabilities[at] = (this.probabilities[at] ?? 0) + probability;
  }

  /** Total probability of the entries. */
  mass(): number {
    let mass = 0;
    for (const probability of this.probabilities) mass += probability;
    return mass;
  }
}

export interface RowMass {
  /** Probability that the source's kept entries had. */
  readonly kept: number;
  /** Probability that reached the pivot's vocabulary. */
  readonly mapped: number;
}

/** The share of the kept mass that survived, 0…1. J5 masks a row where this is below one half. */
export function survivingShare(mass: RowMass): number {
  return mass.kept > 0 ? mass.mapped / mass.kept : 0;
}

/**
 * Carries one source row to the pivot's vocabulary (methods J5). Probabilities stay true ones: nothing is renormalised
 * and unmapped entries are dropped.
 *
 * @param ids [K] source ids, most likely first.
 * @param logProbs [K]
 * @param into cleared, then filled.
 */
export function projectRow(
  ids: ArrayLike<number>,
  logProbs: ArrayLike<number>,
  map: Pick<VocabularyMap, 'target'>,
  into: SparseRow,
  rule: CollisionRule = 'sum',
): RowMass {
  into.clear();
  let kept = 0;
  for (let entry = 0; entry < ids.length; entry++) {
    const probability = Math.exp(logProbs[entry] ?? -Infinity);
    if (!(probability > 0)) continue;
    kept += probability;
    const target = map.target(ids[entry] ?? -1);
    if (target < 0 || (rule === 'first-wins' && into.has(target))) continue;
    into.add(target, probability);
  }
  return { kept, mapped: into.mass() };
}

/** Scales the entries to sum 1: the published row (methods A.6). A row without mass stays as it is. */
export function renormalise(row: SparseRow): void {
  const mass = row.mass();
  if (!(mass > 0)) return;
  row.probabilities.forEach((probability, at) => {
    row.probabilities[at] = probability / mass;
  });
}
