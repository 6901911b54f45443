/** Largest logit, log-sum-exp and best id (lowest on ties) of one row, in double precision. */
export function rowReference(row: ArrayLike<number>): { max: number; lse: number; best: number } {
  let best = 0;
  for (let j = 1; j < row.length; j++) if ((row[j] ?? 0) > (row[best] ?? 0)) best = j;
  const max = row[best] ?? 0;
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += Math.exp((row[j] ?? 0) - max);
  return { max, lse: max + Math.log(sum), best };
}

/** Ids and log-probabilities of the `kept` largest logits, larger first, the lower id first among equals. */
export function topKReference(row: ArrayLike<number>, kept: number): { ids: number[]; logProbs: number[] } {
  const { lse } = rowReference(row);
  const ids = Array.from({ length: row.length }, (_, j) => j)
    .sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0) || a - b)
    .slice(0, kept);
  return { ids, logProbs: ids.map((id) => (row[id] ?? 0) - lse) };
}

/** Σ of the probabilities of `ids`. */
export function massReference(row: ArrayLike<number>, ids: Iterable<number>): number {
  const { lse } = rowReference(row);
  let mass = 0;
  for (const id of ids) mass += Math.exp((row[id] ?? 0) - lse);
  return mass;
}
