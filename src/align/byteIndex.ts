import { withinOneEdit } from './editDistance.ts';
import { byteString, type Vocabulary } from './vocabulary.ts';

/** Looks up the tokens of one vocabulary by their bytes. Built once, O(V); strings hold one byte a character. */
export class ByteIndex {
  readonly #ids = new Map<string, number>();
  #longest = 0;
  #forward: readonly string[] | undefined;
  #backward: readonly string[] | undefined;

  /** Of several tokens with the same bytes the first that is no byte-fallback token is kept. */
  constructor(vocabulary: Vocabulary) {
    const fallback = new Set<number>();
    for (let id = 0; id < vocabulary.size; id++) {
      const bytes = vocabulary.bytesOf(id);
      if (bytes === undefined || bytes.length === 0) continue;
      const text = byteString(bytes);
      const present = this.#ids.get(text);
      const isFallback = vocabulary.isByteFallback?.(id) === true;
      if (isFallback) fallback.add(id);
      if (present === undefined || (fallback.has(present) && !isFallback)) this.#ids.set(text, id);
      this.#longest = Math.max(this.#longest, text.length);
    }
  }

  /** The token of exactly these bytes, or −1. */
  exact(bytes: string): number {
    return this.#ids.get(bytes) ?? -1;
  }

  /** φ: the longest token whose bytes are a prefix of these, or −1 (distillation.md 5). */
  longestPrefix(bytes: string): number {
    for (let length = Math.min(bytes.length, this.#longest); length > 0; length--) {
      const id = this.#ids.get(bytes.slice(0, length));
      if (id !== undefined) return id;
    }
    return -1;
  }

  /**
   * The lowest id at edit distance at most 1 (in bytes), or −1. One edit leaves the first or the second half of the
   * query untouched, so only tokens that begin or end with that half are compared.
   */
  withinOneEdit(bytes: string): number {
    this.#forward ??= [...this.#ids.keys()].sort(compare);
    this.#backward ??= [...this.#ids.keys()].map(reversed).sort(compare);
    const half = bytes.length >> 1;
    let best = -1;
    const consider = (candidate: string) => {
      if (Math.abs(candidate.length - bytes.length) > 1 || !withinOneEdit(candidate, bytes)) return;
      const id = this.exact(candidate);
      if (best < 0 || id < best) best = id;
    };
    for (const candidate of withPrefix(this.#forward, bytes.slice(0, half))) consider(candidate);
    for (const candidate of withPrefix(this.#backward, reversed(bytes.slice(half)))) {
      consider(reversed(candidate));
    }
    return best;
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Strings of bytes have no surrogates, so characters can be reversed one by one. */
const reversed = (text: string) => text.split('').reverse().join('');

function* withPrefix(sorted: readonly string[], prefix: string): Generator<string> {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? '') < prefix) low = middle + 1;
    else high = middle;
  }
  for (let at = low; at < sorted.length; at++) {
    const candidate = sorted[at] ?? '';
    if (!candidate.startsWith(prefix)) return;
    yield candidate;
  }
}
