import type { Conversation } from '../../../pipeline/protocol.ts';

const most = 8;
const least = 6;

/** The first conversation of every domain; where there are few domains, some more of the same. */
export function pickSuggestions(heldout: readonly Conversation[]): readonly Conversation[] {
  const domains = new Set<string>();
  const firsts = heldout
    .filter(({ domain = '' }) => !domains.has(domain) && domains.add(domain))
    .slice(0, most);
  const more = heldout.filter((conversation) => !firsts.includes(conversation));
  return [...firsts, ...more.slice(0, Math.max(0, least - firsts.length))];
}
