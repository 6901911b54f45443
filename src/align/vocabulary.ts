/**
 * What alignment needs of a tokenizer. Tokens are compared by the bytes they stand for (`▁` and `Ġ` are spaces, `<0x0A>`
 * is a newline), so the two marker families need no code of their own; special tokens are compared by role.
 */
export interface Vocabulary {
  /** Ids are 0 … size − 1. A model's head may be wider; such ids count as unknown. */
  readonly size: number;
  /** The bytes of an ordinary token; `undefined` for special, unused and unknown ids. */
  bytesOf(id: number): Uint8Array | undefined;
  /** Ids that end an assistant's turn; the first is the one that the template writes. */
  readonly endOfTurn: readonly number[];
  /** True for byte-fallback tokens (`<0x41>`), which stand behind an ordinary token of the same bytes. */
  isByteFallback?(id: number): boolean;
  /**
   * The ids of these bytes as ordinary text in the middle of a text: no special tokens, no dummy leading space.
   * `undefined` where the bytes are not a text of their own (half a character).
   */
  encode?(bytes: Uint8Array): readonly number[] | undefined;
}

const LATIN1_CHUNK = 4096;

/** One character a byte (0…255), so that byte strings can be keys, compared and sliced. */
export function byteString(bytes: Uint8Array): string {
  if (bytes.length <= LATIN1_CHUNK) return String.fromCharCode(...bytes);
  let text = '';
  for (let start = 0; start < bytes.length; start += LATIN1_CHUNK) {
    text += String.fromCharCode(...bytes.subarray(start, start + LATIN1_CHUNK));
  }
  return text;
}

/** The byte strings of a vocabulary's ids, computed on first use. */
export class TokenBytes {
  readonly vocabulary: Vocabulary;
  readonly #known = new Map<number, string | undefined>();

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
  }

  /** `undefined` for ids without bytes (special, unused, beyond the vocabulary). */
  of(id: number): string | undefined {
    if (this.#known.has(id)) return this.#known.get(id);
    const inside = id >= 0 && id < this.vocabulary.size;
    const bytes = inside ? this.vocabulary.bytesOf(id) : undefined;
    const text = bytes === undefined ? undefined : byteString(bytes);
    this.#known.set(id, text);
    return text;
  }
}

/** Whether both number the same tokens alike, so that rows can be copied without a map. */
export function sameVocabulary(a: Vocabulary, b: Vocabulary): boolean {
  if (a === b) return true;
  if (a.size !== b.size || a.endOfTurn.join() !== b.endOfTurn.join()) return false;
  for (let id = 0; id < a.size; id++) {
    const left = a.bytesOf(id);
    const right = b.bytesOf(id);
    if (left === undefined || right === undefined) {
      if (left !== right) return false;
    } else if (left.length !== right.length || left.some((byte, at) => byte !== right[at])) return false;
  }
  return true;
}
