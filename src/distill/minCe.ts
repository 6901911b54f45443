/**
 * Which model teaches a conversation: the one with the smallest negative log-likelihood in nats per byte of the
 * assistant's text (methods B.1, J7). Bytes, because a count of tokens depends on the tokenizer.
 *
 * @param nllPerByte the pivot first, then the sources; NaN, negative and infinite values never win.
 * @returns the index of the smallest, the first one on ties (so the pivot, J9); −1 where none is usable.
 */
export function minCe(nllPerByte: readonly number[]): number {
  let best = -1;
  let smallest = Number.POSITIVE_INFINITY;
  nllPerByte.forEach((value, index) => {
    if (value >= 0 && value < smallest) {
      smallest = value;
      best = index;
    }
  });
  return best;
}
