import { keptEntries } from '../align/alignConversation.ts';
import { projectRow, renormalise, type SparseRow } from '../align/project.ts';
import type { Representation } from '../align/representation.ts';
import type { VocabularyMap } from '../align/vocabularyMap.ts';
import { type LabelPath, labelPath, spanProbability } from './labelPath.ts';

/**
 * The row of the tail loss for a paired row (distillation.md 5): what the source's known tokens (kept entries and the
 * true next one) say about the pivot's next token, with the label's value exact or bounded from below. Entries are
 * true probabilities, sum to at most 1 and are never renormalised; what is missing is the loss's rest class.
 *
 * Every entry bounds from below the probability that the text goes on with that token's bytes, and so does every sum
 * of entries for the union of their events, if `map` only uses rules of `BOUND_RULES`: each known token counts once, for a
 * pivot token that its bytes begin with. Where the label is longer than the source's next token (`span`), the chain
 * probability is taken out of that token's cell and given to the label, so nothing counts twice.
 *
 * @param into cleared, then filled.
 * @returns the label's path; `other` where the label's value can't be told (such a row is to be masked).
 */
export function tailRow(
  pivot: Representation,
  row: number,
  source: Representation,
  from: number,
  map: VocabularyMap,
  into: SparseRow,
): LabelPath {
  into.clear();
  const { pivotBytes, sourceBytes } = map;
  const label = pivot.tokens[row + 1] ?? -1;
  const next = source.tokens[from + 1] ?? -1;
  let path = labelPath(label, next, { pivot: pivotBytes, source: sourceBytes });
  if (path === 'other' && map.rule(next) === 'same-vocabulary' && map.target(next) === label) path = 'same';
  if (path === 'other') return path;

  const wanted = pivotBytes.of(label);
  const target = (id: number): number => {
    const mapped = map.target(id);
    const bothEnd = path === 'end' && pivotBytes.vocabulary.endOfTurn.includes(mapped);
    const sameSpelling = wanted !== undefined && pivotBytes.of(mapped) === wanted;
    return bothEnd || sameSpelling ? label : mapped;
  };
  const ownProbability = Math.min(1, Math.exp(source.labelLogProb[from] ?? -Infinity));
  if (path === 'span') {
    const along = spanProbability(source, from, wanted ?? '', sourceBytes);
    if (along === undefined) return 'other';
    const chain = Math.min(along, ownProbability);
    into.add(label, chain);
    const short = target(next);
    if (short >= 0) into.add(short, ownProbability - chain);
  } else into.add(label, ownProbability);

  const [ids, logProbs] = keptEntries(source, from);
  ids.forEach((id, entry) => {
    const probability = Math.exp(logProbs[entry] ?? -Infinity);
    const to = id === next || !(probability > 0) ? -1 : target(id);
    if (to >= 0) into.add(to, probability);
  });
  return path;
}

/** The pivot's own row for the tail loss: its kept entries and the label, all exact. */
export function ownTailRow(pivot: Representation, row: number, into: SparseRow): void {
  into.clear();
  const label = pivot.tokens[row + 1] ?? -1;
  into.add(label, Math.min(1, Math.exp(pivot.labelLogProb[row] ?? -Infinity)));
  const [ids, logProbs] = keptEntries(pivot, row);
  ids.forEach((id, entry) => {
    const probability = Math.exp(logProbs[entry] ?? -Infinity);
    if (id !== label && probability > 0) into.add(id, probability);
  });
}

/** The published row (methods A.5, A.6, J5): the kept entries, carried over and scaled to sum 1; no label is added. */
export function publishedRow(
  source: Representation,
  from: number,
  map: Pick<VocabularyMap, 'target'>,
  into: SparseRow,
): void {
  projectRow(...keptEntries(source, from), map, into);
  renormalise(into);
}

/**
 * Writes a row as at most `width` entries, most likely first, ties by id, cells of probability 0 left out; `keep`
 * stays whatever its rank. Cells that do not fit go to the rest class. A sum above 1, which only rounding can make, is
 * taken off the largest entry.
 *
 * @returns how many entries were written.
 */
export function writeRow(
  row: SparseRow,
  keep: number,
  width: number,
  ids: Uint32Array,
  probabilities: Float32Array,
  at: number,
): number {
  const entries = row.ids
    .map((id, index) => ({ id, probability: row.probabilities[index] ?? 0 }))
    .filter(({ id, probability }) => id === keep || probability > 0)
    .sort((a, b) => b.probability - a.probability || a.id - b.id);
  const kept = entries.slice(0, width);
  const label = entries.find(({ id }) => id === keep);
  if (label !== undefined && !kept.includes(label)) kept[kept.length - 1] = label;
  const excess = kept.reduce((sum, { probability }) => sum + probability, 0) - 1;
  kept.forEach(({ id, probability }, index) => {
    ids[at + index] = id;
    probabilities[at + index] = index === 0 && excess > 0 ? Math.max(0, probability - excess) : probability;
  });
  return kept.length;
}
