import { AlloyError } from '../util/errors.ts';
import {
  type AnswerSpan,
  type ChatMessage,
  defaultChatTemplate,
  renderChat,
  renderForTraining,
  type TemplateTokens,
} from './chatTemplate.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A conversation as one model reads it. N tokens. */
export interface EncodedConversation {
  /** The rendered text. */
  readonly text: string;
  /** [N] BOS first where the tokenizer wants one and the template did not write it. */
  readonly ids: Int32Array;
  /**
   * [N] where each token stands in `text`, in UTF-8 bytes; empty for a BOS that was added. Spaces that the template
   * writes before an answer and that are part of its first token (`▁Hello`) are counted to the token before.
   */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** The answers, in order, where they stand in `text`. Those beyond the last token are still listed. */
  readonly answers: readonly AnswerSpan[];
}

/** The texts of special tokens that a chat template may write. */
export function templateTokens(tokenizer: Tokenizer): TemplateTokens {
  const text = (id: number | undefined) => (id === undefined ? '' : tokenizer.tokenText(id));
  const { bos, eos } = tokenizer.specials;
  const { specialTexts: specials, templateOrigin: origin } = tokenizer;
  return { bos: text(bos), eos: text(eos), specials, origin };
}

/** Ids of a text, with BOS before them where the tokenizer wants one and the text does not begin with it. */
export function encodeWithBos(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text);
  const { bos } = tokenizer.specials;
  return tokenizer.addBos && bos !== undefined && ids[0] !== bos ? [bos, ...ids] : ids;
}

/** Ids of a conversation with the opening of an answer at its end. `template`: null for the tokenizer's own, or the default. */
export function encodePrompt(
  tokenizer: Tokenizer,
  template: string | null,
  messages: readonly ChatMessage[],
): { text: string; ids: number[] } {
  const chosen = template ?? tokenizer.chatTemplate ?? defaultChatTemplate;
  const text = renderChat(chosen, messages, { ...templateTokens(tokenizer), addGenerationPrompt: true });
  if (text === '') {
    throw new AlloyError(
      'bad-data',
      `${tokenizer.templateOrigin}: the chat template writes nothing for the conversation; correct the template.`,
    );
  }
  return { text, ids: encodeWithBos(tokenizer, text) };
}

/** Moves the border before an answer's first token to where the answer begins, if only spaces are between. */
function giveSpacesAway(
  text: string,
  answers: readonly AnswerSpan[],
  starts: Int32Array,
  ends: Int32Array,
): void {
  let token = 0;
  for (const { start, startByte } of answers) {
    while (token < ends.length && (ends[token] ?? 0) <= startByte) token++;
    const over = startByte - (starts[token] ?? startByte);
    if (token === 0 || over <= 0 || text.slice(start - over, start) !== ' '.repeat(over)) continue;
    ends[token - 1] = startByte;
    starts[token] = startByte;
  }
}

/**
 * Ids of a conversation, and where its tokens and its answers stand in the rendered text; `placeTokens` of `align` tells
 * from that what is trained.
 * @param template null for the tokenizer's own, or the default one
 * @param maxTokens longer conversations are cut off on the right
 * @throws AlloyError `bad-data` for a conversation that the template refuses, `unsupported` for a tokenizer whose tokens
 *   cannot be found in the text
 */
export function encodeConversation(
  tokenizer: Tokenizer,
  template: string | null,
  messages: readonly ChatMessage[],
  maxTokens: number,
): EncodedConversation {
  const chosen = template ?? tokenizer.chatTemplate ?? defaultChatTemplate;
  const { text, spans: answers } = renderForTraining(chosen, messages, templateTokens(tokenizer));
  const ids = Int32Array.from(encodeWithBos(tokenizer, text).slice(0, maxTokens));
  const spans = tokenizer.byteSpans(ids, text);
  if (!spans.ok) {
    throw new AlloyError(
      'unsupported',
      `${tokenizer.file}: the tokenizer does not give a text back (${spans.reason}); use a model whose tokenizer does.`,
    );
  }
  const { starts, ends } = spans;
  giveSpacesAway(text, answers, starts, ends);
  return { text, ids, starts, ends, answers };
}
