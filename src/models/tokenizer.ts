import type { GgufValue } from '../formats/ggufReader.ts';
import { endOfTurnText } from './chatTemplate.ts';
import { type AddedToken, AddedTokenSplitter, type Section } from './tokenizerAddedTokens.ts';
import { fromByteLevel } from './tokenizerBytes.ts';
import { partsFromGguf } from './tokenizerGguf.ts';
import { partsFromJson } from './tokenizerJson.ts';
import type { TokenizerParts } from './tokenizerParts.ts';
import { type ByteSpans, spansInText } from './tokenizerSpans.ts';
import { spaceMark } from './tokenizerSteps.ts';

/** Special tokens by role; undefined where the tokenizer has none. */
export interface SpecialTokens {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly pad: number | undefined;
  readonly unk: number | undefined;
  /** What the chat template writes after an answer; EOS where it writes nothing. */
  readonly endOfTurn: number | undefined;
}

export interface EncodeOptions {
  /** Whether the text of special tokens (`<|im_end|>`) becomes the token; else it is text like any other. Default true. */
  readonly special?: boolean;
  /** False for a text that goes on after another: no leading space is added. Default true. */
  readonly start?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out; else their text is written. Default false. */
  readonly skipSpecial?: boolean;
  /** False for tokens that go on after others: a leading space stays. Default true. */
  readonly start?: boolean;
}

const utf8 = new TextEncoder();
const noBytes = new Uint8Array(0);
const loneSurrogate = /\p{Surrogate}/gu;

/**
 * Text ↔ token ids for byte-level BPE and SentencePiece (BPE, unigram) tokenizers, from tokenizer.json or GGUF metadata.
 * Ids are those of the original tokenizers. `encode` never adds BOS; see {@link Tokenizer.addBos}.
 */
export class Tokenizer {
  readonly file: string;
  /** Ids are 0 … vocabSize − 1. A model's head may be wider. */
  readonly vocabSize: number;
  readonly specials: SpecialTokens;
  /** Ids at which an answer ends: end of turn, EOS, and what else the file names. */
  readonly stopIds: readonly number[];
  /** Whether sequences begin with BOS (unless a chat template wrote it already). */
  readonly addBos: boolean;
  /** The chat template that came with the tokenizer. */
  readonly chatTemplate: string | null;
  /** The file and field that the template is from, for errors. */
  readonly templateOrigin: string;
  /** Whether it changes the text first (Unicode normalization, lower case). */
  readonly normalizes: boolean;
  readonly #parts: TokenizerParts;
  readonly #special: ReadonlySet<number>;
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #splitter: AddedTokenSplitter;
  readonly #normalizedSplitter: AddedTokenSplitter;
  readonly #bytes = new Map<number, Uint8Array<ArrayBuffer>>();

  private constructor(parts: TokenizerParts) {
    const { added, normalize } = parts;
    this.#parts = parts;
    this.file = parts.file;
    this.vocabSize = parts.tokens.length;
    this.addBos = parts.addBos;
    this.chatTemplate = parts.chatTemplate;
    this.templateOrigin = parts.templateOrigin;
    this.normalizes = normalize.some((step) => step.kind === 'text');
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.#added = new Map(added.map((token) => [token.id, token]));
    this.#splitter = new AddedTokenSplitter(
      added.filter((token) => !token.normalized).map((token) => [token.content, token]),
    );
    this.#normalizedSplitter = new AddedTokenSplitter(
      added.filter((token) => token.normalized).map((token) => [this.#normalize(token.content), token]),
    );
    const { bos, eos, pad, unk } = parts;
    const endOfTurn = this.#findEndOfTurn() ?? eos;
    this.specials = { bos, eos, pad, unk, endOfTurn };
    this.stopIds = [...new Set([endOfTurn, eos, ...parts.endOfTurn])].filter((id) => id !== undefined);
  }

  /**
   * @param tokenizerJson parsed tokenizer.json
   * @param tokenizerConfig parsed tokenizer_config.json, or null
   * @param file the tokenizer.json, for errors
   * @param configFile where `tokenizerConfig` is from, for errors
   * @throws AlloyError `bad-file`, or `unsupported` naming the JSON field
   */
  static fromJson(
    tokenizerJson: unknown,
    tokenizerConfig: unknown,
    file: string,
    configFile = file,
  ): Tokenizer {
    return new Tokenizer(partsFromJson(tokenizerJson, tokenizerConfig, file, configFile));
  }

  /** @throws AlloyError `bad-file`, or `unsupported` naming the metadata key */
  static fromGguf(metadata: ReadonlyMap<string, GgufValue>, file: string): Tokenizer {
    return new Tokenizer(partsFromGguf(metadata, file));
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { special = true, start = true } = options;
    const ids: number[] = [];
    // A half of a surrogate pair has no UTF-8; it counts as U+FFFD from the start, as `TextEncoder` has it.
    const whole = text.replace(loneSurrogate, '\ufffd');
    for (const [index, section] of this.#splitter.split(whole, special).entries()) {
      if ('token' in section) ids.push(section.token.id);
      else
        this.#encodeText(
          section.text,
          { first: index === 0 && start, prefix: start || index > 0 },
          special,
          ids,
        );
    }
    return ids;
  }

  #encodeText(
    text: string,
    place: { first: boolean; prefix: boolean },
    special: boolean,
    ids: number[],
  ): void {
    const steps = this.#parts.normalize.filter((step) => place.prefix || step.kind !== 'prefix');
    const normalized = steps.reduce((value, step) => step.apply(value), text);
    for (const [index, section] of this.#normalizedSplitter.split(normalized, special).entries()) {
      if ('token' in section) {
        ids.push(section.token.id);
        continue;
      }
      const prefix = place.prefix || index > 0;
      for (const piece of this.#parts.preTokenize(section.text, {
        first: place.first && index === 0,
        prefix,
      }))
        this.#parts.model.encode(piece, ids);
    }
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = new DecodeStream(this, options);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  /** Whether the id is a special token: one with a role, which stands for no text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /** Whether the id stands for text that the tokenizer does not know. */
  isUnknown(id: number): boolean {
    return id === this.#parts.unk;
  }

  /** The entry of a token that is found before all others; undefined for tokens of the model. */
  addedToken(id: number): AddedToken | undefined {
    return this.#added.get(id);
  }

  /** The texts of all special tokens. */
  get specialTexts(): string[] {
    return [...this.#special].map((id) => this.tokenText(id));
  }

  /** Whether the id is a `<0xHH>` token, which stands behind an ordinary token of the same bytes. */
  isByteFallback(id: number): boolean {
    return this.#parts.byteIds.has(id);
  }

  /** Whether a space that is not in the text may stand before it in the tokens (SentencePiece's dummy prefix). */
  get leadingSpace(): boolean {
    return this.#parts.leadingSpace;
  }

  /** What decoding leaves out at the start: a ▁ of the first token, a space of the text, or nothing. */
  get stripsOnDecode(): 'mark' | 'space' | null {
    return this.#parts.stripsOnDecode;
  }

  /** The token as the file writes it (`Ġthe`, `▁the`, `<|im_end|>`); empty for ids without a token. */
  tokenText(id: number): string {
    return this.#parts.tokens[id] ?? '';
  }

  /** The id of a token as the file writes it. Linear in the vocabulary. */
  idOf(token: string): number | undefined {
    const id = this.#parts.tokens.indexOf(token);
    return id < 0 ? undefined : id;
  }

  /**
   * The bytes that a token stands for (methods A.2): byte-level characters inverted, ▁ as a space, `<0xHH>` as that byte.
   * Special tokens, unused and unknown ids have none.
   */
  bytesOf(id: number): Uint8Array<ArrayBuffer> {
    let bytes = this.#bytes.get(id);
    if (bytes === undefined) {
      bytes = this.#canonicalBytes(id);
      this.#bytes.set(id, bytes);
    }
    return bytes;
  }

  #normalize(text: string): string {
    return this.#parts.normalize.reduce((value, step) => step.apply(value), text);
  }

  #canonicalBytes(id: number): Uint8Array<ArrayBuffer> {
    const { tokens, writing, byteIds, unused, unk } = this.#parts;
    const added = this.#added.get(id);
    const text = added?.normalized === true ? this.#normalize(added.content) : tokens[id];
    if (text === undefined || this.#special.has(id) || unused.has(id) || id === unk) return noBytes;
    if (byteIds.has(id)) return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
    if (writing === 'sentencePiece') return utf8.encode(text.replaceAll(spaceMark, ' '));
    return (added === undefined ? fromByteLevel(text) : null) ?? utf8.encode(text);
  }

  /**
   * Where tokens stand in the text they were encoded from, in UTF-8 bytes of that text. A token that is not in the text
   * (BOS) has an empty span at its place, as has a leading space that the tokenizer added.
   * Where normalization changed a character (NFC), every token of that character ends at the end of the character.
   * @param ids what `encode(text)` gave, BOS before it or not, or the beginning of it
   */
  byteSpans(ids: ArrayLike<number>, text: string): ByteSpans {
    return spansInText(this, ids, text);
  }

  /** Only where each token ends; see {@link Tokenizer.byteSpans}. Null where the tokens do not give the text back. */
  byteEnds(ids: ArrayLike<number>, text: string): Int32Array | null {
    const spans = this.byteSpans(ids, text);
    return spans.ok ? spans.ends : null;
  }

  /** The pieces between special tokens, for finding where characters came from. */
  sections(text: string): Section[] {
    return this.#splitter.split(text, true, false);
  }

  /** What normalization (NFC, lower case …) makes of a piece of text. */
  normalizePiece(text: string): string {
    return this.#parts.normalize.reduce(
      (value, step) => (step.kind === 'text' ? step.apply(value) : value),
      text,
    );
  }

  #findEndOfTurn(): number | undefined {
    const { chatTemplate, tokens, bos, eos, added } = this.#parts;
    if (chatTemplate === null) return undefined;
    const special = added.filter((token) => token.special);
    const text = endOfTurnText(chatTemplate, {
      bos: tokens[bos ?? -1] ?? '',
      eos: tokens[eos ?? -1] ?? '',
      specials: special.map((token) => token.content),
    });
    return special.find((token) => token.content === text)?.id;
  }
}

/** Decodes tokens as they come: bytes of a character that is not complete yet are held back. */
export class DecodeStream {
  readonly #tokenizer: Tokenizer;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  readonly #skipSpecial: boolean;
  #start: boolean;

  /** @param options `start: false` for an answer that goes on after a prompt */
  constructor(tokenizer: Tokenizer, options: DecodeOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = options.skipSpecial ?? false;
    this.#start = options.start ?? true;
  }

  /** The text that is complete with this token. */
  push(id: number): string {
    const tokenizer = this.#tokenizer;
    if (tokenizer.isSpecial(id)) {
      if (this.#skipSpecial) return this.#decoder.decode();
      this.#start = false;
      return this.#decoder.decode() + tokenizer.tokenText(id);
    }
    if (tokenizer.isUnknown(id)) {
      this.#start = false;
      return this.#skipSpecial ? '' : this.#decoder.decode() + tokenizer.tokenText(id);
    }
    const bytes = tokenizer.bytesOf(id);
    if (bytes.length === 0) return '';
    const drop = this.#start && this.#hasStrippedSpace(id) ? 1 : 0;
    this.#start = false;
    return this.#decoder.decode(bytes.subarray(drop), { stream: true });
  }

  #hasStrippedSpace(id: number): boolean {
    const { stripsOnDecode } = this.#tokenizer;
    if (stripsOnDecode === 'mark') return this.#tokenizer.tokenText(id).startsWith(spaceMark);
    return stripsOnDecode === 'space' && this.#tokenizer.bytesOf(id)[0] === 0x20;
  }

  /** What was held back; an incomplete character becomes U+FFFD. */
  end(): string {
    return this.#decoder.decode();
  }
}
