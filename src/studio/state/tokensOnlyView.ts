import type { AlignmentView, Conversation, LaneToken } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';

/** How two tokenizers cut a conversation's answer, for a machine that cannot run the models: no rows, no losses. */
export async function tokensOnlyView(
  pivot: string,
  source: string,
  conversation: Conversation,
): Promise<AlignmentView> {
  const text = conversation.messages.findLast((message) => message.role === 'assistant')?.content ?? '';
  const [ours, theirs] = await Promise.all([engine().tokenize(pivot, text), engine().tokenize(source, text)]);
  const lane = (tokens: typeof ours): LaneToken[] => tokens.map((token) => ({ ...token, nll: 0, top: [] }));
  const starts = new Map(theirs.map((token, index) => [token.start, index]));
  return {
    text,
    pivot: lane(ours),
    source: lane(theirs),
    pairs: ours.map((token) => {
      const at = starts.get(token.start);
      return at === undefined
        ? { source: -1, reason: 'inside-source-token' as const, mass: 0 }
        : { source: at, reason: 'paired' as const, mass: 0 };
    }),
    projected: ours.map(() => []),
    chosen: 'pivot',
    nllPerByte: { pivot: 0, source: 0 },
  };
}
