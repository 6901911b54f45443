import { type Placement, placeTokens } from '../align/placement.ts';
import type { Vocabulary } from '../align/vocabulary.ts';
import { encodeConversation, encodePrompt, encodeWithBos } from '../models/chatTemplateTokens.ts';
import { DecodeStream, type Tokenizer } from '../models/tokenizer.ts';
import type { Message } from './protocol.ts';

const utf8 = new TextEncoder();
const WHITESPACE_BYTES = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** A model's tokenizer and chat template, as the stages use them. */
export class ModelText {
  readonly tokenizer: Tokenizer;
  readonly vocabulary: Vocabulary;

  constructor(tokenizer: Tokenizer) {
    this.tokenizer = tokenizer;
    this.vocabulary = vocabularyOf(tokenizer);
  }

  /**
   * A rendered conversation in tokens, cut on the right, and where the assistant's messages lie in them.
   * @param openEnd the last answer was cut short on purpose: its end is not the end of a turn
   */
  encode(
    messages: readonly Message[],
    maxTokens: number,
    { openEnd = false } = {},
  ): Placement & { readonly tokens: Uint32Array } {
    const { ids, starts, ends, answers } = encodeConversation(this.tokenizer, null, messages, maxTokens);
    const spans = Array.from(ids, (id, i) => ({ id, start: starts[i] ?? 0, end: ends[i] ?? 0 }));
    const contents = answers.map(({ startByte, endByte, turnEndByte, skippedBytes }, index) => ({
      start: startByte,
      end: endByte,
      turnEnd: turnEndByte,
      skipped: skippedBytes,
      openEnd: openEnd && index === answers.length - 1,
    }));
    return { tokens: Uint32Array.from(ids), ...placeTokens(spans, contents, this.vocabulary.endOfTurn) };
  }

  /** Tokens that an answer to these messages goes on from. */
  prompt(messages: readonly Message[]): number[] {
    return encodePrompt(this.tokenizer, null, messages).ids;
  }

  /** A text as it is, special tokens in it parsed. */
  raw(text: string): number[] {
    return encodeWithBos(this.tokenizer, text);
  }

  /** Turns the tokens of an answer into text as they come. */
  answerStream(): DecodeStream {
    return new DecodeStream(this.tokenizer, { skipSpecial: true, start: false });
  }

  get stopTokens(): readonly number[] {
    return this.tokenizer.stopIds;
  }

  /** Ids that start with white space or are special: the set of the boundary mass β (2503.20083). */
  boundaryIds(): number[] {
    const ids: number[] = [];
    for (let id = 0; id < this.tokenizer.vocabSize; id++) {
      const [first] = this.tokenizer.bytesOf(id);
      if (first === undefined ? this.tokenizer.isSpecial(id) : WHITESPACE_BYTES.has(first)) ids.push(id);
    }
    return ids;
  }
}

function vocabularyOf(tokenizer: Tokenizer): Vocabulary {
  const { endOfTurn } = tokenizer.specials;
  const ends = [...new Set([endOfTurn, ...tokenizer.stopIds])].filter((id) => id !== undefined);
  return {
    size: tokenizer.vocabSize,
    endOfTurn: ends,
    bytesOf: (id) => {
      const bytes = tokenizer.bytesOf(id);
      return bytes.length === 0 ? undefined : bytes;
    },
    isByteFallback: (id) => tokenizer.isByteFallback(id),
    encode: (bytes) => {
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
      const same = utf8.encode(text);
      if (same.length !== bytes.length || same.some((byte, i) => byte !== bytes[i])) return undefined;
      return tokenizer.encode(text, { special: false, start: false });
    },
  };
}
