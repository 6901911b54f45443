import type { Conversation } from '../../../pipeline/protocol.ts';

/** The first conversation of every domain, at most eight. */
export function pickSuggestions(heldout: readonly Conversation[]): readonly Conversation[] {
  const byDomain = new Map<string, Conversation>();
  for (const conversation of heldout) {
    const domain = conversation.domain ?? '';
    if (!byDomain.has(domain)) byDomain.set(domain, conversation);
  }
  return [...byDomain.values()].slice(0, 8);
}
