/**
 * SentencePiece's unigram model: the cut of a piece whose tokens' scores sum to the most (Kudo 2018, 1804.10959), found from
 * left to right as the library `tokenizers` does it, so that ties fall the same way.
 */
import { appendFallback, type Fallback, type TokenModel } from './tokenizerModels.ts';

/** How much less than the worst token a character that is no token scores. */
const unknownPenalty = 10;
/** Numbers for a trie's edges are made from a node and one character. */
const codeSpace = 0x110000;

/** Where the best cut up to a place comes from. */
interface Arrival {
  from: number;
  id: number;
  score: number;
}

export class UnigramModel implements TokenModel {
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #scores: ArrayLike<number>;
  readonly #fallback: Fallback;
  readonly #unknownScore: number;
  /** node × code space + character → node */
  readonly #edges = new Map<number, number>();
  /** Token that ends at a node, or −1. */
  readonly #ends: number[] = [-1];

  /** @param vocabulary the tokens that may be found; @param scores by id, natural logarithms */
  constructor(vocabulary: ReadonlyMap<string, number>, scores: ArrayLike<number>, fallback: Fallback) {
    this.#vocabulary = vocabulary;
    this.#scores = scores;
    this.#fallback = fallback;
    let least = Number.POSITIVE_INFINITY;
    for (const [text, id] of vocabulary) {
      least = Math.min(least, scores[id] ?? 0);
      this.#insert(text, id);
    }
    this.#unknownScore = (Number.isFinite(least) ? least : 0) - unknownPenalty;
  }

  #insert(text: string, id: number): void {
    let node = 0;
    for (const character of text) {
      const edge = node * codeSpace + (character.codePointAt(0) ?? 0);
      let next = this.#edges.get(edge);
      if (next === undefined) {
        next = this.#ends.push(-1) - 1;
        this.#edges.set(edge, next);
      }
      node = next;
    }
    if (node > 0) this.#ends[node] = id;
  }

  encode(piece: string, out: number[]): void {
    const characters = Array.from(piece);
    const codes = characters.map((character) => character.codePointAt(0) ?? 0);
    const path = this.#bestPath(codes);
    for (let i = 0; i < path.length; i++) {
      const { from, to, id } = path[i] ?? { from: 0, to: 0, id: -1 };
      if (id !== -1 && id !== this.#fallback.unknown) {
        out.push(id);
        continue;
      }
      let end = to;
      while (this.#fallback.fuseUnknown && isUnknown(path[i + 1]?.id, this.#fallback.unknown))
        end = path[++i]?.to ?? end;
      const text = characters.slice(from, end).join('');
      const whole = this.#vocabulary.get(text);
      if (whole === undefined) appendFallback(text, this.#fallback, out, false);
      else out.push(whole);
    }
  }

  /** Tokens of the best cut in order; −1 for one character that is no token. */
  #bestPath(codes: readonly number[]): { from: number; to: number; id: number }[] {
    const arrivals: (Arrival | undefined)[] = new Array(codes.length + 1);
    const offer = (to: number, from: number, id: number, score: number): void => {
      const best = arrivals[to];
      if (best === undefined) arrivals[to] = { from, id, score };
      else if (score > best.score) Object.assign(best, { from, id, score });
    };
    for (let from = 0; from < codes.length; from++) {
      const before = arrivals[from]?.score ?? 0;
      let single = false;
      let node: number | undefined = 0;
      for (let to = from; to < codes.length; ) {
        node = this.#edges.get(node * codeSpace + (codes[to] ?? 0));
        if (node === undefined) break;
        to++;
        const id = this.#ends[node] ?? -1;
        if (id < 0) continue;
        offer(to, from, id, before + (this.#scores[id] ?? 0));
        if (to === from + 1) single = true;
      }
      if (!single) offer(from + 1, from, -1, before + this.#unknownScore);
    }
    const path: { from: number; to: number; id: number }[] = [];
    for (let to = codes.length; to > 0; ) {
      const { from, id } = arrivals[to] ?? { from: to - 1, id: -1 };
      path.push({ from, to, id });
      to = from;
    }
    return path.reverse();
  }
}

function isUnknown(id: number | undefined, unknown: number | undefined): boolean {
  return id !== undefined && (id === -1 || id === unknown);
}
