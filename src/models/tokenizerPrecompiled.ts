/**
 * SentencePiece's compiled normalization (`precompiled_charsmap`): a double-array trie of what is replaced, and the texts it
 * is replaced with. Format: sentencepiece's normalizer; trie: Aoe's double array (darts).
 */
import { AlloyError } from '../util/errors.ts';

const utf8 = new TextEncoder();
/** Longer clusters are taken character by character. */
const longestCluster = 5;

function bad(file: string): AlloyError {
  return new AlloyError('bad-file', `${file}: its precompiled character map is damaged; get the file again.`);
}

/** The replacements of one map. */
class CharacterMap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #cache = new Map<string, string | null>();

  constructor(units: Uint32Array, texts: Uint8Array) {
    this.#units = units;
    this.#texts = texts;
  }

  /** What stands for the shortest beginning of a text that the map has; null where it has none. */
  replacement(text: string): string | null {
    let found = this.#cache.get(text);
    if (found === undefined) {
      const [place] = this.#places(utf8.encode(text), 0);
      found = place === undefined ? null : this.#textAt(place.start);
      this.#cache.set(text, found);
    }
    return found;
  }

  /** What stands for the longest part of `bytes` from `at` on that the map has, and where that part ends. */
  longest(bytes: Uint8Array, at: number): { readonly text: string; readonly end: number } | null {
    const place = this.#places(bytes, at).at(-1);
    return place === undefined ? null : { text: this.#textAt(place.start), end: place.end };
  }

  #places(bytes: Uint8Array, at: number): { readonly start: number; readonly end: number }[] {
    const places: { start: number; end: number }[] = [];
    let node = offsetOf(this.#units[0] ?? 0);
    for (let i = at; i < bytes.length; i++) {
      const byte = bytes[i] ?? 0;
      if (byte === 0) break;
      node ^= byte;
      const unit = this.#units[node] ?? 0;
      if ((unit & 0x800000ff) >>> 0 !== byte) break;
      node ^= offsetOf(unit);
      if ((unit & 0x100) !== 0) places.push({ start: (this.#units[node] ?? 0) & 0x7fffffff, end: i + 1 });
    }
    return places;
  }

  #textAt(start: number): string {
    const end = this.#texts.indexOf(0, start);
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
      this.#texts.subarray(start, end < 0 ? this.#texts.length : end),
    );
  }
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
}

function readMap(bytes: Uint8Array, file: string): CharacterMap {
  if (bytes.length < 4) throw bad(file);
  const own = bytes.slice();
  const trieBytes = new DataView(own.buffer).getUint32(0, true);
  if (trieBytes % 4 !== 0 || trieBytes === 0 || 4 + trieBytes > own.length) throw bad(file);
  return new CharacterMap(new Uint32Array(own.buffer, 4, trieBytes / 4), own.subarray(4 + trieBytes));
}

/**
 * Applies a map as SentencePiece does: the longest part at each place.
 * @param bytes the map as it stands in the file @throws AlloyError `bad-file`
 */
export function longestNormalizer(bytes: Uint8Array, file: string): (text: string) => string {
  const map = readMap(bytes, file);
  return (text) => {
    const encoded = utf8.encode(text);
    let result = '';
    for (let at = 0; at < encoded.length; ) {
      const found = map.longest(encoded, at);
      const end = found?.end ?? at + characterBytes(encoded[at] ?? 0);
      result +=
        found?.text ?? new TextDecoder('utf-8', { ignoreBOM: true }).decode(encoded.subarray(at, end));
      at = end;
    }
    return result;
  };
}

function characterBytes(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

/**
 * Applies a map as the library `tokenizers` does: to a short grapheme cluster as a whole where the map has a beginning of it,
 * else to each of its characters.
 * @param bytes the map as it stands in the file @throws AlloyError `bad-file`
 */
export function precompiledNormalizer(bytes: Uint8Array, file: string): (text: string) => string {
  const map = readMap(bytes, file);
  const clusters = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (text) => {
    let result = '';
    for (const { segment } of clusters.segment(text)) {
      const whole = utf8.encode(segment).length <= longestCluster ? map.replacement(segment) : null;
      if (whole !== null) result += whole;
      else for (const character of segment) result += map.replacement(character) ?? character;
    }
    return result;
  };
}

/** The bytes of a map that stands in JSON. @throws AlloyError `bad-file` */
export function charactersFromBase64(text: string, file: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw bad(file);
  }
}
