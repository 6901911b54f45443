import { beforeEach, expect, test, vi } from 'vitest';
import type { Engine, Message } from '../../pipeline/protocol.ts';
import { createFakeEngine, quickScenario } from '../testing/fakeEngine.ts';
import { answerTokens, ask, clearChat, interruptChat, useChat } from './chat.ts';
import { setEngine } from './client.ts';

let calls: { model: string; messages: readonly Message[] }[];

function install(engine: Engine) {
  calls = [];
  setEngine({
    ...engine,
    chat: (model, messages, sampling, onToken) => {
      calls.push({ model, messages });
      return engine.chat(model, messages, sampling, onToken);
    },
  });
}

beforeEach(() => {
  install(createFakeEngine());
  useChat.setState(useChat.getInitialState());
  clearChat();
});

const text = (turn: number, column: string) =>
  answerTokens(turn, column)
    .map((token) => token.text)
    .join('');

test('asks every column in turn, and each goes on with its own answers', async () => {
  await ask('Say a word that rhymes with stone.', ['pivot', 'lexis-2m']);
  await ask('Another?', ['pivot', 'lexis-2m']);
  const [first, second] = useChat.getState().turns;
  expect(first?.answers.pivot).toMatchObject({ state: 'done', stop: 'end' });
  expect(text(first!.id, 'lexis-2m')).toBe('Say telephone.');
  expect(calls.map(({ model }) => model)).toEqual(['pivot', 'lexis-2m', 'pivot', 'lexis-2m']);
  expect(calls[3]?.messages).toEqual([
    { role: 'user', content: 'Say a word that rhymes with stone.' },
    { role: 'assistant', content: 'Say telephone.' },
    { role: 'user', content: 'Another?' },
  ]);
  expect(second?.id).not.toBe(first?.id);
  expect(useChat.getState().busy).toBe(false);
});

test('an interruption ends the answer under way and those that wait', async () => {
  install(createFakeEngine({ ...quickScenario, stepMs: 3 }));
  const asked = ask('Hello', ['pivot', 'fused']);
  await vi.waitFor(() => {
    const turn = useChat.getState().turns[0];
    expect(turn && answerTokens(turn.id, 'pivot').length).toBeGreaterThan(2);
  });
  await interruptChat();
  await asked;
  const [turn] = useChat.getState().turns;
  expect(turn?.answers.pivot).toMatchObject({ state: 'done', stop: 'interrupted' });
  expect(turn?.answers.fused).toMatchObject({ state: 'done', stop: 'interrupted' });
  expect(calls).toHaveLength(1);
});

test('a failing model says why and leaves the others alone', async () => {
  install(createFakeEngine({ ...quickScenario, failing: 'chat' }));
  await ask('Hello', ['pivot', 'fused']);
  const [turn] = useChat.getState().turns;
  expect(turn?.answers.pivot?.fault?.message).toMatch(/not finite/);
  expect(calls).toHaveLength(2);
});

test('nothing is asked for an empty prompt', async () => {
  await ask('  \n', ['pivot']);
  expect(useChat.getState().turns).toEqual([]);
});
