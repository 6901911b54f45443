import { beforeEach, expect, test } from 'vitest';
import type { Conversation, Engine } from '../../pipeline/protocol.ts';
import { createFakeEngine, quickScenario } from '../testing/fakeEngine.ts';
import { alignConversation, useAlign } from './align.ts';
import { setEngine } from './client.ts';
import { openDevice } from './device.ts';
import { editRecipe, loadProject, useProject } from './project.ts';

let calls: string[];

async function setUp(device: 'ready' | 'none' = 'ready') {
  const fake = createFakeEngine({ ...quickScenario, device });
  calls = [];
  const spied: Engine = {
    ...fake,
    align: async (recipe, source, conversation) => {
      calls.push(`${source} ${conversation.id}`);
      // The first call answers last.
      await new Promise((resolve) => setTimeout(resolve, calls.length === 1 ? 30 : 1));
      return fake.align(recipe, source, conversation);
    },
  };
  setEngine(spied);
  useAlign.setState(useAlign.getInitialState());
  await Promise.all([openDevice(), loadProject()]);
}

const conversation = (index: number): Conversation => useProject.getState().train[index]!;

beforeEach(() => setUp());

test('the newest choice wins, however the answers arrive', async () => {
  await Promise.all([
    alignConversation('fauna-3m', conversation(0)),
    alignConversation('lexis-2m', conversation(1)),
  ]);
  const { view, source, loading } = useAlign.getState();
  expect([source, loading]).toEqual(['lexis-2m', false]);
  expect(view?.text).toBe(conversation(1).messages[1]?.content);
});

test('what is there already is not asked for twice, unless somebody asks again', async () => {
  await alignConversation('fauna-3m', conversation(2));
  await alignConversation('fauna-3m', conversation(2));
  expect(calls).toHaveLength(1);
  await alignConversation('fauna-3m', conversation(2), true);
  expect(calls).toHaveLength(2);
  editRecipe('train.rank', 3);
  await alignConversation('fauna-3m', conversation(2));
  expect(calls).toHaveLength(2);
  editRecipe('fuse.choice', 'source');
  await alignConversation('fauna-3m', conversation(2));
  expect(calls).toHaveLength(3);
});

test('without a device the two cuts are still shown, and nothing is run', async () => {
  await setUp('none');
  await alignConversation('fauna-3m', conversation(6));
  const { view, tokensOnly } = useAlign.getState();
  expect(tokensOnly).toBe(true);
  expect(calls).toEqual([]);
  expect(view?.pivot.at(-1)?.end).toBe(new TextEncoder().encode(view?.text).length);
  for (const [index, pair] of view!.pairs.entries()) {
    const starts = view!.source.some((token) => token.start === view!.pivot[index]!.start);
    expect(pair.reason).toBe(starts ? 'paired' : 'inside-source-token');
  }
});
