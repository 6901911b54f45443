/** Levenshtein distance with unit costs over the elements of two sequences (code points for strings). */
export function editDistance(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  let row = Array.from({ length: right.length + 1 }, (_, at) => at);
  left.forEach((character, above) => {
    const next = [above + 1];
    right.forEach((other, at) => {
      const replace = (row[at] ?? 0) + (character === other ? 0 : 1);
      next.push(Math.min(replace, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1));
    });
    row = next;
  });
  return row[right.length] ?? 0;
}

/** Whether two strings of 16-bit units differ by at most one insertion, deletion or replacement. O(length). */
export function withinOneEdit(a: string, b: string): boolean {
  const [short, long] = a.length <= b.length ? [a, b] : [b, a];
  if (long.length - short.length > 1) return false;
  let at = 0;
  while (at < short.length && short[at] === long[at]) at++;
  return short.length === long.length
    ? short.slice(at + 1) === long.slice(at + 1)
    : short.slice(at) === long.slice(at + 1);
}

/**
 * FuseLLM's total vocabulary map (methods A.4.2), for comparison: the entry with the smallest edit distance, however
 * far, the first one on ties. O(entries · length²).
 */
export function nearestEntry(query: string, vocabulary: readonly string[]): number {
  const exact = vocabulary.indexOf(query);
  if (exact >= 0) return exact;
  let best = -1;
  let smallest = Number.POSITIVE_INFINITY;
  vocabulary.forEach((entry, index) => {
    const distance = editDistance(query, entry);
    if (distance < smallest) {
      smallest = distance;
      best = index;
    }
  });
  return best;
}
