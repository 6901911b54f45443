import type { AddedToken, Section } from './tokenizerAddedTokens.ts';

/** Where tokens stand in a text, in UTF-8 bytes: token i is [starts[i], ends[i]). */
export type ByteSpans =
  | { readonly ok: true; readonly starts: Int32Array; readonly ends: Int32Array }
  /** The tokens do not give the text back, and why. */
  | { readonly ok: false; readonly reason: string };

/** What following tokens through a text needs of a tokenizer. */
export interface SpanTokenizer {
  readonly leadingSpace: boolean;
  readonly normalizes: boolean;
  /** Stands for text that cannot be known. */
  isUnknown(id: number): boolean;
  isSpecial(id: number): boolean;
  /** The entry of a token that was found before all others; undefined for tokens of the model. */
  addedToken(id: number): AddedToken | undefined;
  bytesOf(id: number): Uint8Array;
  tokenText(id: number): string;
  sections(text: string): Section[];
  normalizePiece(text: string): string;
}

const utf8 = new TextEncoder();
const space = 0x20;
/** ASCII white space. */
/** The UTF-8 bytes of every white space character. */
const whiteSpace = Array.from(
  '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
  (character) => utf8.encode(character),
);
/** UTF-8 of ▁, which SentencePiece cannot tell from a space. */
const markBytes = [0xe2, 0x96, 0x81];

/** A character with its combining marks and joined Hangul letters: what Unicode normalization never reaches across. */
const cluster = /[\s\S][\p{M}\u1160-\u11ff]*/gu;

/** The bytes that tokens give back, and for each the place in the original text, or null where they differ. */
interface NormalizedText {
  readonly bytes: Uint8Array;
  /** [bytes + 1] place in the original text for every place here. */
  readonly origin: Int32Array | null;
}

/** Normalizes piece by piece and remembers where each piece came from. Null where the pieces don't add up to the whole. */
function normalize(tokenizer: SpanTokenizer, text: string): NormalizedText | null {
  if (!tokenizer.normalizes) return { bytes: utf8.encode(text), origin: null };
  const origin: number[] = [0];
  let place = 0;
  let joined = '';
  const add = (from: string, to: string): void => {
    const length = utf8.encode(to).length;
    const originalLength = utf8.encode(from).length;
    for (let i = 1; i <= length; i++) origin.push(place + (from === to ? i : originalLength));
    place += originalLength;
    joined += to;
  };
  for (const section of tokenizer.sections(text)) {
    if ('token' in section) {
      add(section.token.content, section.token.content);
      continue;
    }
    const before = joined.length;
    for (const [piece] of section.text.matchAll(cluster)) add(piece, tokenizer.normalizePiece(piece));
    if (joined.slice(before) !== tokenizer.normalizePiece(section.text)) return null;
  }
  return { bytes: utf8.encode(joined), origin: joined === text ? null : Int32Array.from(origin) };
}

/** Follows tokens through a text. */
class Follower {
  readonly #tokenizer: SpanTokenizer;
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(tokenizer: SpanTokenizer, bytes: Uint8Array) {
    this.#tokenizer = tokenizer;
    this.#bytes = bytes;
  }

  /** Length of the match of these bytes here, or −1. A space also matches a ▁ in the text. */
  #match(bytes: Uint8Array, from: number): number {
    let at = this.at;
    for (let i = from; i < bytes.length; i++) {
      const byte = bytes[i];
      if (this.#bytes[at] === byte) at++;
      else if (byte === space && markBytes.every((mark, j) => this.#bytes[at + j] === mark)) at += 3;
      else return -1;
    }
    return at - this.at;
  }

  /** Moves over an ordinary token; its leading space is left out if it was added. */
  token(id: number, spaceAdded: boolean): boolean {
    const bytes = this.#tokenizer.bytesOf(id);
    const length = this.#match(bytes, spaceAdded && bytes[0] === space ? 1 : 0);
    if (length < 0) return false;
    this.at += length;
    return true;
  }

  /** Moves over an added token's text if it stands here, and over white space that it takes along. */
  added({ content, normalized, stripLeft, stripRight }: AddedToken): boolean {
    const start = this.at;
    if (stripLeft) this.#skipSpace();
    let length = this.#match(utf8.encode(content), 0);
    if (length < 0 && normalized) length = this.#match(utf8.encode(` ${content}`), 0);
    this.at = length < 0 ? start : this.at + length;
    if (length >= 0 && stripRight) this.#skipSpace();
    return length >= 0;
  }

  #skipSpace(): void {
    for (;;) {
      const found = whiteSpace.find((bytes) => bytes.every((byte, i) => this.#bytes[this.at + i] === byte));
      if (found === undefined) return;
      this.at += found.length;
    }
  }
}

/** Whether the tokens of a section are its text with a space added before it: they do not fit the text as it is. */
function spaceWasAdded(
  tokenizer: SpanTokenizer,
  ids: ArrayLike<number>,
  from: number,
  bytes: Uint8Array,
  at: number,
): boolean {
  const plain = new Follower(tokenizer, bytes);
  plain.at = at;
  for (let i = from; i < ids.length; i++) {
    const id = ids[i] ?? 0;
    if (tokenizer.addedToken(id) !== undefined) return false;
    if (!plain.token(id, false)) return true;
  }
  return false;
}

/** See `Tokenizer.byteSpans`. */
export function spansInText(tokenizer: SpanTokenizer, ids: ArrayLike<number>, text: string): ByteSpans {
  const normalized = normalize(tokenizer, text);
  if (normalized === null)
    return { ok: false, reason: 'its normalization cannot be followed character by character' };
  const { bytes, origin } = normalized;
  const starts = new Int32Array(ids.length);
  const ends = new Int32Array(ids.length);
  const follower = new Follower(tokenizer, bytes);
  const placeOf = () => (origin === null ? follower.at : (origin[follower.at] ?? 0));
  let spaceAdded = tokenizer.leadingSpace && spaceWasAdded(tokenizer, ids, 0, bytes, 0);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] ?? 0;
    starts[i] = placeOf();
    const added = tokenizer.addedToken(id);
    const isAdded = added !== undefined && follower.added(added);
    if (!isAdded && tokenizer.isUnknown(id))
      return { ok: false, reason: `token ${i} stands for text that it does not know` };
    const found =
      isAdded ||
      tokenizer.isSpecial(id) ||
      (tokenizer.bytesOf(id).length > 0 && follower.token(id, spaceAdded));
    if (!found) {
      const shown = JSON.stringify(tokenizer.tokenText(id));
      return { ok: false, reason: `token ${i} (${shown}) is not in the text at byte ${placeOf()}` };
    }
    spaceAdded =
      added !== undefined &&
      tokenizer.leadingSpace &&
      spaceWasAdded(tokenizer, ids, i + 1, bytes, follower.at);
    ends[i] = placeOf();
  }
  return { ok: true, starts, ends };
}
