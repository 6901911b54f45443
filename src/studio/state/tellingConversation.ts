import type { Conversation } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';

interface Span {
  readonly start: number;
  readonly end: number;
}

/** So many answers are cut to find a telling one. */
const LOOKED_AT = 48;
/** Characters that still fit a screen. */
const LONGEST = 140;
/** A token that both cut alike tells less than one that they do not, but a longer answer is worth some. */
const ALIKE = 0.2;

/**
 * The conversation in which one sees best what alignment is for: a longer answer that the two tokenizers cut
 * differently. The first one where nothing can be cut.
 */
export async function tellingConversation(
  pivot: string,
  source: string,
  conversations: readonly Conversation[],
): Promise<Conversation | undefined> {
  const candidates = conversations
    .map((conversation) => ({ conversation, text: answerOf(conversation) }))
    .filter(({ text }) => text.length <= LONGEST)
    .sort((a, b) => b.text.length - a.text.length)
    .slice(0, LOOKED_AT);
  try {
    const scored = await Promise.all(
      candidates.map(async ({ conversation, text }) => {
        const [ours, theirs] = await Promise.all(
          [pivot, source].map((name) => engine().tokenize(name, text)),
        );
        return { conversation, score: differenceOf(ours ?? [], theirs ?? []) };
      }),
    );
    const most = Math.max(...scored.map(({ score }) => score));
    return scored.find(({ score }) => score === most)?.conversation ?? conversations[0];
  } catch {
    return conversations[0];
  }
}

/** How much two cuts of a text differ: tokens of either that the other does not have, and a little for the rest. */
export function differenceOf(ours: readonly Span[], theirs: readonly Span[]): number {
  const spans = (cut: readonly Span[]) => new Set(cut.map(({ start, end }) => `${start} ${end}`));
  const [a, b] = [spans(ours), spans(theirs)];
  const alike = [...a].filter((span) => b.has(span)).length;
  return a.size + b.size - 2 * alike + ALIKE * alike;
}

function answerOf({ messages }: Conversation): string {
  return messages.findLast(({ role }) => role === 'assistant')?.content ?? '';
}
