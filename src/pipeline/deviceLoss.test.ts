import { expect, test } from 'vitest';
import { openDawn } from '../gpu/dawn.ts';
import { WebGpu } from '../gpu/webGpu.ts';
import type { RunEvent } from './protocol.ts';
import { parseRecipe } from './recipe.ts';
import { StudioEngine } from './studioEngine.ts';
import { TINY_RECIPE, tinyHost } from './testing.ts';

const recipe = parseRecipe(
  {
    ...TINY_RECIPE,
    sources: ['reader'],
    train: { ...TINY_RECIPE.train, steps: 4, checkpointEvery: 1 },
    evaluate: { bootstrap: 100, accuracy: false },
  },
  'tiny',
);
const question = [{ role: 'user', content: 'name one like the eel' }] as const;
const sampling = { temperature: 1, topK: 0, topP: 1, seed: 0, maxNewTokens: 60 };
const lost = { code: 'device-lost' };

test('a lost device fails what waits for it, and everything goes on with the next one', async () => {
  const opened: WebGpu[] = [];
  const engine = new StudioEngine(
    tinyHost(async () => {
      const gpu = await WebGpu.open(await openDawn());
      opened.push(gpu);
      return gpu;
    }),
  );
  const lose = () => opened.at(-1)?.dispose();

  const watched = engine.deviceLost();
  const first: RunEvent[] = [];
  const run = engine.fuse(recipe, (event) => {
    first.push(event);
    if (event.kind === 'loss' && event.step >= 2) lose();
  });
  await expect(run).rejects.toMatchObject(lost);
  expect(await watched).not.toBe('');
  expect(await engine.deviceLost()).toBe(await watched);
  await expect(engine.nextTokens('pivot', question, 3)).rejects.toMatchObject(lost);
  await expect(engine.memory()).rejects.toMatchObject(lost);
  expect(await engine.models()).toHaveLength(3);

  await engine.open();
  expect(opened).toHaveLength(2);
  const second: RunEvent[] = [];
  expect(await engine.fuse(recipe, (event) => second.push(event))).toBe('done');
  const resumed = second.find((event) => event.kind === 'loss');
  expect(resumed).toMatchObject({ target: 'sft' });
  expect(resumed?.step).toBeGreaterThan(1);

  await engine.setMethod('linear');
  await engine.setWeights([{ layer: 0, matrix: 'v', source: 0, weight: 2 }]);
  const before = await engine.nextTokens('fused', question, 8);
  const view = await engine.mergeView();
  await expect(engine.chat('fused', question, sampling, lose)).rejects.toMatchObject(lost);

  await engine.open();
  expect(await engine.mergeView()).toEqual(view);
  expect(await engine.nextTokens('fused', question, 8)).toEqual(before);
  expect((await engine.probe()).nllPerByte).toBeGreaterThan(0);

  // An error of the device cannot be taken back: the engine gives the device up and says why.
  const gpu = opened.at(-1);
  const gone = engine.deviceLost();
  gpu?.device.createBuffer({ size: 16, usage: 0 });
  await gpu?.device.queue.onSubmittedWorkDone();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(engine.probe()).rejects.toThrow();
  expect(await gone).toMatch(/error/);
  await expect(engine.mergeView()).rejects.toMatchObject(lost);
  await engine.open();
  expect(opened).toHaveLength(4);
  expect(await engine.nextTokens('fused', question, 8)).toEqual(before);
}, 240_000);
