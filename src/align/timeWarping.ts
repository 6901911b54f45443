/**
 * The published sequence alignment: dynamic time warping whose local cost is the edit distance of the two tokens
 * (methods A.3). It pairs tokens that need not end at the same place, so byte offsets (`pairRows`) are the default;
 * this is here for comparison and for tokenizers that cannot be taken back to bytes.
 */
import { editDistance } from './editDistance.ts';

/** Which neighbour wins a tie after the diagonal: the previous source token (FuseLLM) or pivot token (FuseChat 2). */
export type WarpingTies = 'dtw-fusellm' | 'dtw-fusechat';

export interface Warping {
  /** For every pivot token the source tokens on its path, ascending, never empty. */
  readonly lists: readonly (readonly number[])[];
  readonly cost: number;
}

/**
 * @param pivot token strings without word-start markers.
 * @param source the same.
 * @returns lists for every pivot token; empty sequences give empty lists and cost 0.
 */
export function warpTokens(
  pivot: readonly string[],
  source: readonly string[],
  ties: WarpingTies = 'dtw-fusellm',
): Warping {
  const lists: number[][] = pivot.map(() => []);
  if (pivot.length === 0 || source.length === 0) return { lists, cost: 0 };
  const width = pivot.length;
  const totals = new Float64Array(source.length * width);
  const total = (j: number, i: number) =>
    j < 0 || i < 0 ? Number.POSITIVE_INFINITY : (totals[j * width + i] ?? 0);
  const costs = new Map<string, number>();
  source.forEach((from, j) => {
    pivot.forEach((to, i) => {
      const key = JSON.stringify([from, to]);
      const local = costs.get(key) ?? editDistance(from, to);
      costs.set(key, local);
      const before = Math.min(total(j - 1, i), total(j, i - 1), total(j - 1, i - 1));
      totals[j * width + i] = local + (j === 0 && i === 0 ? 0 : before);
    });
  });
  let j = source.length - 1;
  let i = width - 1;
  lists[i]?.push(j);
  while (j > 0 || i > 0) {
    const sourceFirst = { j: j - 1, i };
    const pivotFirst = { j, i: i - 1 };
    const order = ties === 'dtw-fusellm' ? [sourceFirst, pivotFirst] : [pivotFirst, sourceFirst];
    let best = { j: j - 1, i: i - 1 };
    for (const cell of order) if (total(cell.j, cell.i) < total(best.j, best.i)) best = cell;
    ({ j, i } = best);
    lists[i]?.push(j);
  }
  for (const list of lists) list.reverse();
  return { lists, cost: total(source.length - 1, width - 1) };
}
