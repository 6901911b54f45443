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

/** Labels of tokens that are not trained on. */
export const ignoredLabel = -100;

/** A conversation as one model reads it. N tokens. */
export interface EncodedConversation {
  /** The rendered text. */
  readonly text: string;
  /** [N] BOS first where the tokenizer wants one and the template did not write it. */
  readonly ids: Int32Array;
  /** [N] the id where the token lies in an answer or ends its turn, else −100. */
  readonly labels: Int32Array;
  /**
   * [N] where each token stands in `text`, in UTF-8 bytes; empty for a BOS that was added. Spaces that the template
   * writes before an answer and that are part of its first token (`▁Hello`) are counted to the token before.
   */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** The answers, in order, where they stand in `text`. Those beyond the last token are still listed. */
  readonly answers: readonly AnswerSpan[];
  /** [N] where each token of an answer ends, in bytes of `content`; −1 outside and for the end of turn. */
  readonly contentEnds: Int32Array;
  /** All answers one after the other, UTF-8. */
  readonly content: Uint8Array<ArrayBuffer>;
}

/** The texts of special tokens that a chat template may write. */
export function templateTokens(tokenizer: Tokenizer): TemplateTokens {
  const text = (id: number | undefined) => (id === undefined ? '' : tokenizer.tokenText(id));
  const { bos, eos } = tokenizer.specials;
  return { bos: text(bos), eos: text(eos), specials: tokenizer.specialTexts };
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
 * Ids and labels of a conversation (methods C.5): a token is trained on if its span lies inside an answer, or if it is the
 * special token that ends the answer's turn. The loss of label t is that of the logits at t − 1.
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
  const labels = new Int32Array(ids.length).fill(ignoredLabel);
  const contentEnds = new Int32Array(ids.length).fill(-1);
  let before = 0;
  let token = 0;
  for (const answer of answers) {
    while (token < ids.length && (starts[token] ?? 0) < answer.startByte) token++;
    for (; token < ids.length && (ends[token] ?? 0) <= answer.turnEndByte; token++) {
      const id = ids[token] ?? 0;
      const inside = (ends[token] ?? 0) <= answer.endByte && (ends[token] ?? 0) > answer.startByte;
      const special = tokenizer.isSpecial(id);
      if (inside && !special) contentEnds[token] = before + (ends[token] ?? 0) - answer.startByte;
      labels[token] = id;
    }
    before += answer.endByte - answer.startByte;
  }
  const utf8 = new TextEncoder();
  const content = utf8.encode(answers.map(({ start, end }) => text.slice(start, end)).join(''));
  return { text, ids, labels, starts, ends, answers, contentEnds, content };
}
