import { type MergeRules, type MergeTable, mergeSymbols } from './tokenizerMerges.ts';

/** Turns one pre-token into ids, appended to `out`. */
export interface TokenModel {
  encode(piece: string, out: number[]): void;
}

/** What stands for characters that are no token. */
export interface Fallback {
  /** Ids of `<0x00>` … `<0xFF>` (undefined where one is missing), or null where the tokenizer has no byte fallback. */
  readonly bytes: readonly (number | undefined)[] | null;
  readonly unknown: number | undefined;
  /** Whether neighbouring unknown characters become one unknown token. */
  readonly fuseUnknown: boolean;
}

const cacheLimit = 20_000;
const cachedPieceLength = 64;
const utf8 = new TextEncoder();

/** Ids of the byte tokens `<0x00>` … `<0xFF>`. */
export function byteTokens(vocabulary: ReadonlyMap<string, number>): (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) =>
    vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
}

/**
 * Appends byte tokens for a text that is no token, or the unknown token where one of its bytes has none. A tokenizer that has
 * neither drops the text, as the original does.
 * @param fused an unknown token stands before it already, and one is enough
 * @returns whether the text became unknown
 */
export function appendFallback(text: string, fallback: Fallback, out: number[], fused: boolean): boolean {
  const ids = fallback.bytes && Array.from(utf8.encode(text), (byte) => fallback.bytes?.[byte]);
  if (ids?.every((id) => id !== undefined)) {
    out.push(...ids);
    return false;
  }
  if (fallback.unknown !== undefined && !fused) out.push(fallback.unknown);
  return true;
}

/** BPE by ranked merges. */
export class BpeModel implements TokenModel {
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #merges: MergeTable;
  readonly #fallback: Fallback;
  readonly #wholeFirst: boolean;
  readonly #cache = new Map<string, readonly number[]>();

  /** @param wholeFirst a piece that is a token is not cut (`ignore_merges`) */
  constructor(
    vocabulary: ReadonlyMap<string, number>,
    merges: MergeTable,
    fallback: Fallback,
    wholeFirst: boolean,
  ) {
    this.#vocabulary = vocabulary;
    this.#merges = merges;
    this.#fallback = fallback;
    this.#wholeFirst = wholeFirst;
  }

  encode(piece: string, out: number[]): void {
    const whole = this.#wholeFirst ? this.#vocabulary.get(piece) : undefined;
    if (whole !== undefined) {
      out.push(whole);
      return;
    }
    let ids = this.#cache.get(piece);
    if (ids === undefined) {
      ids = this.#merge(piece);
      if (piece.length <= cachedPieceLength) {
        if (this.#cache.size >= cacheLimit) this.#cache.clear();
        this.#cache.set(piece, ids);
      }
    }
    for (const id of ids) out.push(id);
  }

  #merge(piece: string): number[] {
    const symbols: number[] = [];
    let unknownBefore = false;
    for (const character of piece) {
      const id = this.#vocabulary.get(character);
      if (id !== undefined) symbols.push(id);
      const fused: boolean = unknownBefore && this.#fallback.fuseUnknown;
      unknownBefore = id === undefined && appendFallback(character, this.#fallback, symbols, fused);
    }
    return mergeSymbols(symbols, this.#merges);
  }
}

/** SentencePiece's BPE: any two neighbours that make a token merge, the token with the best score first. */
export class ScoredBpeModel implements TokenModel {
  readonly #tokens: readonly string[];
  readonly #mergeable: ReadonlyMap<string, number>;
  readonly #scores: ArrayLike<number>;
  readonly #fallback: Fallback;

  /** @param mergeable the tokens that a merge may make, by text */
  constructor(
    tokens: readonly string[],
    mergeable: ReadonlyMap<string, number>,
    scores: ArrayLike<number>,
    fallback: Fallback,
  ) {
    this.#tokens = tokens;
    this.#mergeable = mergeable;
    this.#scores = scores;
    this.#fallback = fallback;
  }

  encode(piece: string, out: number[]): void {
    const loose: string[] = [];
    const symbols = Array.from(piece, (character) => {
      const id = this.#mergeable.get(character);
      return id ?? -loose.push(character);
    });
    const textOf = (symbol: number) => (symbol < 0 ? loose[-symbol - 1] : this.#tokens[symbol]) ?? '';
    const rules: MergeRules = {
      find: (left, right) => this.#mergeable.get(textOf(left) + textOf(right)) ?? -1,
      cost: (id) => -(this.#scores[id] ?? 0),
      result: (id) => id,
    };
    let unknownBefore = false;
    for (const symbol of mergeSymbols(symbols, rules)) {
      if (symbol >= 0) out.push(symbol);
      const fused: boolean = unknownBefore && this.#fallback.fuseUnknown;
      unknownBefore = symbol < 0 && appendFallback(textOf(symbol), this.#fallback, out, fused);
    }
  }
}
