import { expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { ON_WASM, openFragileDevice, openTestDevice } from '../device/testing.ts';
import type { WebGpuDevice } from '../device/webgpu/webGpuDevice.ts';
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
  const opened: Device[] = [];
  const engine = new StudioEngine(
    tinyHost(async () => {
      const device = await openTestDevice();
      opened.push(device);
      return device;
    }),
  );
  const lose = () => opened.at(-1)?.dispose();

  const watched = engine.deviceLost();
  const first: RunEvent[] = [];
  let goneAgain = watched;
  const run = engine.fuse(recipe, (event) => {
    first.push(event);
    if (event.kind === 'loss' && event.step >= 2) lose();
    // The run goes on once by itself; the second loss ends it.
    if (event.kind === 'reopened') goneAgain = engine.deviceLost();
  });
  await expect(run).rejects.toMatchObject(lost);
  expect(await watched).not.toBe('');
  expect(first.filter(({ kind }) => kind === 'reopened')).toHaveLength(1);
  expect(opened).toHaveLength(2);
  expect(await engine.deviceLost()).toBe(await goneAgain);
  await expect(engine.nextTokens('pivot', question, 3)).rejects.toMatchObject(lost);
  await expect(engine.memory()).rejects.toMatchObject(lost);
  expect(await engine.models()).toHaveLength(3);

  await engine.open();
  expect(opened).toHaveLength(3);
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
  if (ON_WASM) return;

  // An error of the device cannot be taken back: the engine gives the device up and says why.
  const { gpu } = opened.at(-1) as WebGpuDevice;
  const gone = engine.deviceLost();
  gpu.createBuffer({ size: 16, usage: 0 });
  await gpu.queue.onSubmittedWorkDone();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(engine.probe()).rejects.toThrow();
  expect(await gone).toMatch(/error/);
  await expect(engine.mergeView()).rejects.toMatchObject(lost);
  await engine.open();
  expect(opened).toHaveLength(5);
  expect(await engine.nextTokens('fused', question, 8)).toEqual(before);
}, 240_000);

test('a device lost inside a step: the run goes on by itself and ends with the numbers of a run without a loss', async () => {
  const run = async (lossMs: number | undefined) => {
    const opened: Awaited<ReturnType<typeof openFragileDevice>>[] = [];
    const engine = new StudioEngine(
      tinyHost(async () => {
        const one = await openFragileDevice();
        opened.push(one);
        return one.device;
      }),
    );
    const events: RunEvent[] = [];
    const outcome = await engine.fuse(recipe, (event) => {
      events.push(event);
      const [first] = opened;
      if (event.kind !== 'loss' || event.step !== 2 || opened.length > 1 || !first) return;
      // The next steps are under way by now.
      if (lossMs !== undefined) setTimeout(first.lose, lossMs);
    });
    expect(outcome).toBe('done');
    const report = events.find((event) => event.kind === 'report')!.report;
    for (const { device } of opened) device.dispose();
    return { reopened: events.filter(({ kind }) => kind === 'reopened').length, suites: report.suites };
  };
  const calm = await run(undefined);
  expect(calm.reopened).toBe(0);
  expect(await run(5)).toEqual({ reopened: 1, suites: calm.suites });
}, 120_000);
