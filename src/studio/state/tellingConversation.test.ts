import { beforeEach, expect, test } from 'vitest';
import type { Conversation } from '../../pipeline/protocol.ts';
import { createFakeEngine } from '../testing/fakeEngine.ts';
import { setEngine } from './client.ts';
import { differenceOf, tellingConversation } from './tellingConversation.ts';

const said = (id: string, content: string): Conversation => ({
  id,
  messages: [
    { role: 'user', content: 'Say something.' },
    { role: 'assistant', content },
  ],
});

/** One model cuts at spaces, the other after every character. */
function cutBy(pattern: RegExp, text: string) {
  let at = 0;
  return [...text.matchAll(pattern)].map(([piece], id) => {
    const start = at;
    at += piece.length;
    return { id, text: piece, start, end: at };
  });
}

const list = [
  said('short', 'A.'),
  said('alike', '1 2 3 4'),
  said('differs', 'wordsdiffer'),
  said('endless', 'x'.repeat(900)),
];

beforeEach(() => {
  const cut = (model: string, text: string) => cutBy(model === 'words' ? /\s?\S+/g : /./g, text);
  setEngine({ ...createFakeEngine(), tokenize: async (model, text) => cut(model, text) });
});

test('the answer that is cut most differently is chosen, if it fits a screen', async () => {
  expect((await tellingConversation('words', 'letters', list))?.id).toBe('differs');
});

test('of answers that are cut alike the longest is chosen', async () => {
  expect((await tellingConversation('letters', 'letters', list.slice(0, 2)))?.id).toBe('alike');
});

test('where nothing can be cut the first is good enough', async () => {
  setEngine({ ...createFakeEngine(), tokenize: () => Promise.reject(new Error('no tokenizer')) });
  expect((await tellingConversation('words', 'letters', list))?.id).toBe('short');
  expect(await tellingConversation('words', 'letters', [])).toBeUndefined();
});

test('a difference counts tokens of both cuts', () => {
  const word = [{ start: 0, end: 4 }];
  const halves = [
    { start: 0, end: 2 },
    { start: 2, end: 4 },
  ];
  expect(differenceOf(word, halves)).toBe(3);
  expect(differenceOf(word, word)).toBeLessThan(1);
});
