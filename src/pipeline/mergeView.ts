import type { LiveMerge } from '../merge/liveMerge.ts';
import { AlloyError } from '../util/errors.ts';
import type { MergeCell, MergeView } from './protocol.ts';

/** A live merge as plain numbers. @param sources names, in the order of the deltas */
export function mergeView(merge: LiveMerge, sources: readonly string[]): MergeView {
  const cells: MergeCell[] = [];
  merge.stats.forEach(({ layer, matrix, sources: stats }, index) => {
    stats.forEach(({ energy }, source) => {
      cells.push({
        layer,
        matrix,
        source,
        weight: merge.weights[index]?.[source] ?? 0,
        computed: merge.computed[index]?.[source] ?? 0,
        norm: Math.sqrt(energy),
      });
    });
  });
  return {
    method: merge.method.kind,
    sources,
    layers: 1 + Math.max(-1, ...merge.stats.map(({ layer }) => layer)),
    matrices: [...new Set(merge.stats.map(({ matrix }) => matrix))],
    cells,
    conflicts: merge.stats.map(({ layer, matrix, conflict }) => ({ layer, matrix, share: conflict })),
  };
}

/** A cell as the page names it. */
export interface CellChange {
  readonly layer: number;
  readonly matrix: string;
  readonly source: number;
  readonly weight: number;
}

/**
 * Finds the cells in a live merge.
 * @throws AlloyError `bad-argument` for a matrix or a source that the merge lacks, or a weight that is not a number
 */
export function findCells(
  merge: LiveMerge,
  changes: readonly CellChange[],
): { matrix: number; source: number; weight: number }[] {
  const places = new Map(merge.stats.map(({ layer, matrix }, index) => [`${layer} ${matrix}`, index]));
  return changes.map(({ layer, matrix, source, weight }) => {
    const index = places.get(`${layer} ${matrix}`);
    const fault = (what: string) =>
      new AlloyError('bad-argument', `The merge has no ${what}; reload the merge and change its own cells.`);
    if (index === undefined) throw fault(`matrix "${matrix}" in layer ${layer}`);
    if (!(Number.isInteger(source) && source >= 0 && source < merge.adapters.sources))
      throw fault(`source ${source}`);
    if (Number.isFinite(weight)) return { matrix: index, source, weight };
    throw new AlloyError('bad-argument', `The weight of layer ${layer}, ${matrix} is not a number.`);
  });
}
