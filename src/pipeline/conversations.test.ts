import { describe, expect, test } from 'vitest';
import { parseConversations } from './conversations.ts';

const line = (value: unknown) => JSON.stringify(value);
const messages = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello' },
];

describe('conversations', () => {
  test('are read line by line', () => {
    const text = `\uFEFF${line({ id: 'a', messages, domain: 'x', accept: ['b'], source: 'y', more: 1 })}\r\n\n${line({ id: 'b', messages })}\n`;
    expect(parseConversations(text, 'chat.jsonl')).toEqual([
      { id: 'a', messages, domain: 'x', accept: ['b'], source: 'y' },
      { id: 'b', messages },
    ]);
  });

  const problem = (value: unknown) => {
    const text = `${line({ id: 'first', messages })}\n${typeof value === 'string' ? value : line(value)}`;
    try {
      parseConversations(text, 'chat.jsonl');
    } catch (error) {
      expect(error).toMatchObject({ name: 'AlloyError', code: 'bad-data' });
      return String((error as Error).message);
    }
    return 'accepted';
  };

  test.each([
    ['{"id": ', /line 2: is not JSON/],
    ['[]', /line 2: is an empty list/],
    [{ messages }, /line 2: id is missing/],
    [{ id: 7, messages }, /line 2: id is a number/],
    [{ id: '', messages }, /line 2: id is an empty text/],
    [{ id: 'first', messages }, /line 2: id "first" stands on line 1 already/],
    [{ id: 'a' }, /line 2: messages is missing/],
    [{ id: 'a', messages: [] }, /line 2: messages is an empty list/],
    [{ id: 'a', messages: [null] }, /line 2: messages\[0\] is null/],
    [
      { id: 'a', messages: [...messages, { role: 'bot', content: '' }] },
      /line 2: messages\[2\]\.role is "bot"/,
    ],
    [{ id: 'a', messages: [{ content: '' }] }, /line 2: messages\[0\]\.role is missing/],
    [{ id: 'a', messages: [{ role: 'user' }] }, /line 2: messages\[0\]\.content is missing/],
    [{ id: 'a', messages: messages.slice(0, 1) }, /line 2: messages has no answer/],
    [{ id: 'a', messages, domain: 3 }, /line 2: domain is a number/],
    [{ id: 'a', messages, accept: 'x' }, /line 2: accept is not a list/],
    [{ id: 'a', messages, accept: [1] }, /line 2: accept is not a list/],
    [{ id: 'a', messages, accept: [] }, /line 2: accept is not a list/],
  ])('%j is refused, with file, line and field', (value, expected) => {
    expect(problem(value)).toMatch(expected);
    expect(problem(value)).toMatch(/^chat\.jsonl, line 2: .*\.$/);
  });

  test('an empty file is refused', () => {
    expect(() => parseConversations('\n\n', 'chat.jsonl')).toThrow(/chat\.jsonl holds no conversation/);
  });
});
