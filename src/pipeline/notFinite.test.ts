import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import type { RunEvent } from './protocol.ts';
import { parseRecipe } from './recipe.ts';
import { StudioEngine } from './studioEngine.ts';
import { TINY_RECIPE, tinyHost } from './testing.ts';

test('training that leaves the finite numbers ends there, keeps what was good and says where', async () => {
  const storage = new MemoryStorage();
  const engine = new StudioEngine(tinyHost(testDevice, storage));
  const train = { ...TINY_RECIPE.train, steps: 6, learningRate: 1e30, warmup: 0, checkpointEvery: 100 };
  const recipe = parseRecipe({ ...TINY_RECIPE, sources: ['reader'], train }, 'tiny');
  const events: RunEvent[] = [];
  await expect(engine.fuse(recipe, (event) => events.push(event))).rejects.toMatchObject({
    code: 'not-finite',
    message: expect.stringMatching(
      /^Step 2: .*conversation "train-\d".*what was learnt before it is kept .*Lower train\.learningRate/u,
    ),
  });
  const losses = events.filter((event) => event.kind === 'loss');
  expect(losses.map(({ step }) => step)).toEqual([1]);
  expect((await storage.list()).filter(({ path }) => path.includes('checkpoint'))).toHaveLength(1);
  expect((await engine.nextTokens('pivot', [{ role: 'user', content: 'name one' }], 3)).length).toBe(3);

  // The same recipe goes on behind the last good step and ends where it did; a smaller rate trains anew, to the end.
  const again: RunEvent[] = [];
  await expect(engine.fuse(recipe, (event) => again.push(event))).rejects.toMatchObject({
    message: expect.stringMatching(/^Step 2: /u),
  });
  expect(again.filter(({ kind }) => kind === 'loss')).toEqual([]);
  const calmer: RunEvent[] = [];
  const lower = { ...recipe, train: { ...recipe.train, learningRate: 1e-3 } };
  expect(await engine.fuse(lower, (event) => calmer.push(event))).toBe('done');
  const steps = calmer.flatMap((event) =>
    event.kind === 'loss' && event.target === 'sft' ? [event.step] : [],
  );
  expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
}, 60_000);
