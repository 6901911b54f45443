import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { testDevice } from '../device/testing.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import type { NextToken, Report, RunEvent } from './protocol.ts';
import { parseRecipe, type Recipe } from './recipe.ts';
import { StudioEngine } from './studioEngine.ts';
import { TINY_RECIPE, tinyHost } from './testing.ts';

const recipe = parseRecipe(TINY_RECIPE, 'tiny');
const question = [{ role: 'user', content: 'name one like the eel' }] as const;
const greedy = { temperature: 0, topK: 0, topP: 1, seed: 0, maxNewTokens: 6 };

type Loss = Extract<RunEvent, { kind: 'loss' }>;

async function fuse(
  engine: StudioEngine,
  what: Recipe = recipe,
  onEvent: (event: RunEvent) => void = () => {},
) {
  const events: RunEvent[] = [];
  const outcome = await engine.fuse(what, (event) => {
    events.push(event);
    onEvent(event);
  });
  return { outcome, events };
}

function lossesOf(...runs: readonly (readonly RunEvent[])[]): Record<string, number[]> {
  const losses = runs.flat().filter((event): event is Loss => event.kind === 'loss');
  return Object.fromEntries(
    losses.map(({ target, step, total, supervised, distillation, learningRate }) => [
      `${target} ${step}`,
      [total, supervised, distillation, learningRate],
    ]),
  );
}

/** What must not differ between two runs of one recipe. */
function numbersOf(events: readonly RunEvent[]): Omit<Report, 'seconds' | 'peakBytes' | 'reused'> {
  const event = events.find((one) => one.kind === 'report');
  if (!event) throw new Error('no report');
  const { seconds: _, peakBytes: __, reused: ___, ...numbers } = event.report;
  return numbers;
}

const distance = (a: readonly NextToken[], b: readonly NextToken[]) => {
  const other = new Map(b.map(({ text, probability }) => [text, probability]));
  return Math.max(...a.map(({ text, probability }) => Math.abs(probability - (other.get(text) ?? 0))));
};

const storage = new MemoryStorage();
let device: Device;
let engine: StudioEngine;
let first: Awaited<ReturnType<typeof fuse>>;

beforeAll(async () => {
  device = await testDevice();
  engine = new StudioEngine(tinyHost(testDevice, storage));
  await expect(engine.mergeView()).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(engine.nextTokens('fused', question, 3)).rejects.toMatchObject({ code: 'bad-argument' });
  const run = fuse(engine);
  await expect(fuse(engine)).rejects.toMatchObject({ code: 'bad-argument' });
  first = await run;
}, 240_000);

test('stages come in their order, and the end is told when the fusion can be used', async () => {
  expect(first.outcome).toBe('done');
  const stages = first.events.flatMap((event) => (event.kind === 'stage' ? [event.stage] : []));
  const order = stages.filter((stage, index) => stage !== stages[index - 1]);
  expect(order).toEqual([
    ...['represent', 'evaluate', 'represent', 'evaluate', 'align', 'represent', 'evaluate', 'align'],
    ...['distil', 'merge', 'evaluate'],
  ]);
  expect(first.events.slice(-3).map(({ kind }) => kind)).toEqual(['merged', 'report', 'done']);
  const losses = lossesOf(first.events);
  expect(Object.keys(losses)).toEqual(
    ['sft', 'reader', 'writer'].flatMap((target) => [1, 2, 3, 4, 5, 6].map((step) => `${target} ${step}`)),
  );
  // All targets start at the pivot: the labels' mean does not depend on the teacher's weight.
  expect(losses['reader 1']?.[1]).toBeCloseTo(losses['sft 1']?.[1] ?? 0, 4);
  const { suites } = numbersOf(first.events);
  expect(suites.map(({ suite }) => suite)).toEqual(['animals', 'words']);
  for (const { rows } of suites) {
    expect(rows.map(({ role }) => role)).toEqual(
      'pivot source source sft sft target target merged merged'.split(' '),
    );
    for (const { nllPerByte, low, high } of rows) expect(low <= nllPerByte && nllPerByte <= high).toBe(true);
  }
});

test('what is finished is not run again', async () => {
  const again = await fuse(new StudioEngine(tinyHost(testDevice, storage)));
  const stages = again.events.filter((event) => event.kind === 'stage');
  expect(stages.filter(({ cached }) => !cached).map(({ stage }) => stage)).toEqual(['merge']);
  expect(lossesOf(again.events)).toEqual({});
  expect(numbersOf(again.events)).toEqual(numbersOf(first.events));
});

describe('a run that is finished', () => {
  const reopen = async (kept: MemoryStorage, what: Recipe = recipe) => {
    const events: RunEvent[] = [];
    const fresh = new StudioEngine(tinyHost(testDevice, kept));
    return { fresh, events, found: await fresh.reopen(what, (event) => events.push(event)) };
  };

  test('is there again after a restart, as it was told, with nothing worked out', async () => {
    const { fresh, events, found } = await reopen(storage);
    expect(found).toBe(true);
    expect(events.slice(-3)).toEqual(first.events.slice(-3));
    expect(events.filter((event) => event.kind === 'stage' && !event.cached)).toMatchObject([
      { stage: 'merge' },
    ]);
    expect(lossesOf(events)).toEqual({});
    expect(await fresh.mergeView()).toEqual(await engine.mergeView());
    expect(await fresh.nextTokens('fused', question, 5)).toEqual(
      await engine.nextTokens('fused', question, 5),
    );
  });

  test('is not there where anything is missing, and nothing is worked out then either', async () => {
    const files = (await storage.list('artifacts')).map(({ path }) => path);
    const stages = new Set(files.map((path) => path.split('/')[1] ?? ''));
    expect([...stages].sort()).toEqual('align align-summary distil evaluate report represent'.split(' '));
    for (const stage of stages) {
      const kept = new MemoryStorage();
      const missing = files.findLast((path) => path.startsWith(`artifacts/${stage}/`));
      for (const path of files) if (path !== missing) await copy(storage, kept, path);
      const before = await kept.list('artifacts');
      const { bytes } = device.stats;
      const { fresh, events, found } = await reopen(kept);
      expect([stage, found]).toEqual([stage, false]);
      expect(events.some(({ kind }) => kind === 'merged' || kind === 'report' || kind === 'done')).toBe(
        false,
      );
      expect(await kept.list('artifacts')).toEqual(before);
      expect(device.stats.bytes).toBe(bytes);
      await expect(fresh.mergeView()).rejects.toMatchObject({ code: 'bad-argument' });
    }
  });

  test('is not that of another recipe', async () => {
    const other = { ...recipe, train: { ...recipe.train, rank: 3 } };
    expect(await reopen(storage, other)).toMatchObject({ found: false, events: [] });
  });

  test('a recipe is checked without a run', async () => {
    expect(await engine.checkRecipe(recipe)).toEqual(recipe);
    const wrong = { ...recipe, fuse: { ...recipe.fuse, lambda: 2 } };
    await expect(engine.checkRecipe(wrong)).rejects.toMatchObject({
      code: 'bad-recipe',
      message: expect.stringContaining('fuse.lambda'),
    });
  });
});

async function copy(from: MemoryStorage, to: MemoryStorage, path: string): Promise<void> {
  const file = await from.open(path);
  const writer = await to.create(path);
  await writer.write(await file.read(0, file.bytes));
  await writer.commit();
}

test('a run that was paused, stepped, stopped and started anew ends with the same numbers', async () => {
  const other = new MemoryStorage();
  const stopped = new StudioEngine(tinyHost(testDevice, other));
  const { bytes } = device.stats;
  let steps = 0;
  const waited: Promise<void>[] = [];
  const whenPaused: (() => void)[] = [];
  const paused = () => new Promise<void>((resolve) => whenPaused.push(resolve));
  const pauseAndStep = async (count: number) => {
    stopped.command('pause');
    await paused();
    const before = steps;
    for (let done = 1; done <= count; done++) {
      stopped.command('step');
      await paused();
      expect(steps).toBe(before + done);
    }
  };
  const run = await fuse(stopped, recipe, (event) => {
    if (event.kind === 'state' && event.state === 'paused') whenPaused.shift()?.();
    if (event.kind === 'loss') steps++;
    if (event.kind !== 'stage' || event.stage !== 'distil') return;
    if (event.label === 'sft') waited.push(pauseAndStep(2).finally(() => stopped.command('resume')));
    if (event.label === 'reader') waited.push(pauseAndStep(3).finally(() => stopped.command('stop')));
  });
  await Promise.all(waited);
  expect(run.outcome).toBe('stopped');
  expect(device.stats.bytes).toBe(bytes);
  const states = run.events.flatMap((event) => (event.kind === 'state' ? [event.state] : []));
  const held = (times: number) => Array.from({ length: times }, () => ['pausing', 'paused']).flat();
  expect(states).toEqual([...held(3), 'running', ...held(4)]);
  expect(run.events.some(({ kind }) => kind === 'report' || kind === 'done')).toBe(false);
  await expect(stopped.mergeView()).rejects.toMatchObject({ code: 'bad-argument' });

  const resumed = await fuse(new StudioEngine(tinyHost(testDevice, other)));
  expect(resumed.outcome).toBe('done');
  const firstStep = resumed.events.find((event) => event.kind === 'loss');
  // The checkpoint of two steps is the last before the stop.
  expect(firstStep).toMatchObject({ target: 'reader', step: 3 });
  expect(lossesOf(run.events, resumed.events)).toEqual(lossesOf(first.events));
  expect(numbersOf(resumed.events)).toEqual(numbersOf(first.events));
});

describe('the merge', () => {
  test('has a cell for every matrix and source, with the weights that the method computed', async () => {
    const view = await engine.mergeView();
    expect(view).toMatchObject({ method: 'sce', sources: ['reader', 'writer'], layers: 2 });
    expect(view.matrices).toEqual(['q', 'k', 'v', 'o', 'gate', 'up', 'down']);
    expect(view.cells).toHaveLength(2 * 7 * 2);
    expect(view.conflicts).toHaveLength(2 * 7);
    for (const { weight, computed, norm } of view.cells) {
      expect(weight).toBe(computed);
      expect(norm).toBeGreaterThan(0);
    }
    const sums = new Map<string, number>();
    for (const { layer, matrix, weight } of view.cells) {
      sums.set(`${layer} ${matrix}`, (sums.get(`${layer} ${matrix}`) ?? 0) + weight);
    }
    for (const sum of sums.values()) expect(sum).toBeCloseTo(1, 5);
    for (const { share } of view.conflicts) expect(share > 0 && share < 1).toBe(true);
  });

  test.each(['sce', 'linear'] as const)(
    '%s: moved weights change the next token and compile nothing',
    async (method) => {
      const view = await engine.setMethod(method);
      expect(view.method).toBe(method);
      const before = await engine.nextTokens('fused', question, 20);
      const probe = await engine.probe();
      const pivot = await engine.nextTokens('pivot', question, 20);
      expect(distance(before, pivot)).toBeGreaterThan(1e-3);
      const { pipelines, bindGroups, buffersMade } = device.stats;
      await engine.setWeights([{ layer: 1, matrix: 'down', source: 0, weight: 3 }]);
      const moved = await engine.nextTokens('fused', question, 20);
      expect(distance(moved, before)).toBeGreaterThan(1e-4);
      await engine.setWeights(view.cells.map((cell) => ({ ...cell, weight: 0 })));
      const zero = await engine.nextTokens('fused', question, 20);
      expect(distance(zero, pivot)).toBeLessThan(1e-5);
      expect(device.stats).toMatchObject({ pipelines, bindGroups, buffersMade });
      expect((await engine.probe()).nllPerByte).toBeGreaterThan(probe.nllPerByte);
      await engine.setWeights(view.cells);
      expect(await engine.nextTokens('fused', question, 20)).toEqual(before);
      expect((await engine.probe()).nllPerByte).toBeCloseTo(probe.nllPerByte, 6);
      expect(device.stats.pipelines).toBe(pipelines);
    },
  );

  test('refuses cells that it does not have', async () => {
    const cell = { layer: 0, matrix: 'q', source: 0, weight: 1 };
    for (const wrong of [{ layer: 9 }, { matrix: 'z' }, { source: 2 }, { weight: Number.NaN }]) {
      await expect(engine.setWeights([{ ...cell, ...wrong }])).rejects.toMatchObject({
        code: 'bad-argument',
      });
    }
  });

  test('of one source is that source’s target, by either method', async () => {
    const single = new StudioEngine(tinyHost(testDevice, storage));
    await fuse(single, { ...recipe, sources: ['reader'] });
    const target = await single.nextTokens('target:reader', question, 20);
    expect(distance(await single.nextTokens('fused', question, 20), target)).toBeLessThan(1e-5);
    await single.setMethod('linear');
    expect(distance(await single.nextTokens('fused', question, 20), target)).toBeLessThan(1e-5);
    await expect(single.nextTokens('target:writer', question, 20)).rejects.toMatchObject({
      code: 'bad-argument',
    });
  });
});

describe('chat', () => {
  test('streams what it returns, the same again from the cache', async () => {
    for (const model of ['pivot', 'fused', 'sft', 'target:writer', 'writer']) {
      const tokens: { text: string; probability: number }[] = [];
      const result = await engine.chat(model, question, greedy, (token) => tokens.push(token));
      expect(tokens.map(({ text }) => text).join('')).toBe(result.text);
      expect(result.tokens).toBeLessThanOrEqual(6);
      expect(result.stop).toBe(result.tokens < 6 ? 'end' : 'length');
      for (const { probability } of tokens) expect(probability > 0 && probability <= 1).toBe(true);
      const [best] = await engine.nextTokens(model, question, 1);
      const [start] = tokens;
      if (start && best?.text === start.text) expect(best.probability).toBeCloseTo(start.probability, 5);
      expect(await engine.chat(model, question, greedy, () => {})).toMatchObject({ text: result.text });
    }
  });

  test('ends when it is interrupted, also while it waits', async () => {
    const long = { ...greedy, temperature: 1, maxNewTokens: 60 };
    const running = engine.chat('pivot', question, long, () => engine.interrupt());
    const waiting = engine.chat('pivot', question, long, () => {});
    expect(await running).toMatchObject({ stop: 'interrupted' });
    expect(await waiting).toEqual({ text: '', stop: 'interrupted', tokens: 0, tokensPerSecond: 0 });
    expect((await engine.chat('pivot', question, greedy, () => {})).stop).not.toBe('interrupted');
  });

  test('before a run `pivot` is that of the recipe at hand', async () => {
    const fresh = new StudioEngine(tinyHost(testDevice));
    const sampled = await fresh.nextTokens('pivot', question, 4);
    expect(distance(sampled, await engine.nextTokens('pivot', question, 20))).toBeLessThan(1e-5);
    await fresh.checkRecipe({ ...recipe, pivot: 'writer', sources: ['reader'] });
    const edited = await fresh.nextTokens('pivot', question, 4);
    expect(distance(edited, await fresh.nextTokens('writer', question, 20))).toBeLessThan(1e-5);
    expect(distance(edited, sampled)).toBeGreaterThan(1e-3);
  });

  test('says what does not fit and what is not there', async () => {
    const long = [{ role: 'user', content: 'word '.repeat(60) }] as const;
    await expect(engine.chat('pivot', long, greedy, () => {})).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('128'),
    });
    await expect(engine.nextTokens('nobody', question, 1)).rejects.toMatchObject({
      code: 'missing-file',
      message: expect.stringContaining('nobody'),
    });
  });
});

describe('alignment of one conversation', () => {
  test('lanes cover the answer, and pairs start at the same byte', async () => {
    const { train } = await engine.sample();
    const one = train[1];
    if (!one) throw new Error('no conversation');
    const view = await engine.align(recipe, 'reader', one);
    const bytes = new TextEncoder().encode(view.text).length;
    expect(view.text).toBe(one.messages[1]?.content);
    for (const lane of [view.pivot, view.source]) {
      expect(lane[0]?.start).toBe(0);
      expect(lane.at(-1)?.end).toBe(bytes);
      lane.forEach(({ start, nll, top, id }, index) => {
        expect(start).toBe(lane[index - 1]?.end ?? 0);
        const own = top.find((entry) => entry.id === id);
        if (own) expect(Math.exp(-nll)).toBeCloseTo(own.probability, 5);
      });
    }
    const perByte = view.pivot.reduce((sum, { nll }) => sum + nll, 0) / bytes;
    expect(view.nllPerByte.pivot).toBeCloseTo(perByte, 5);
    expect(view.chosen).toBe(view.nllPerByte.source < view.nllPerByte.pivot ? 'source' : 'pivot');
    const starts = view.source.map(({ start }) => start);
    view.pairs.forEach(({ source, reason, mass }, index) => {
      const { start } = view.pivot[index] ?? { start: -1 };
      expect(source).toBe(starts.indexOf(start));
      expect(reason === 'inside-source-token').toBe(source < 0);
      expect(view.projected[index]?.length === 0).toBe(reason !== 'paired');
      expect(mass >= 0.5).toBe(reason === 'paired');
    });
    expect(view.pairs.some(({ reason }) => reason === 'inside-source-token')).toBe(true);
    const { readbacks } = device.stats;
    expect(await engine.align(recipe, 'reader', one)).toBe(view);
    expect(device.stats.readbacks).toBe(readbacks);
  });

  test('tokens without a model', async () => {
    const text = 'the swan – yes';
    const tokens = await engine.tokenize('writer', text);
    expect(tokens.map((token) => token.text).join('')).toBe('the swan <0xE2><0x80><0x93> yes');
    expect(tokens.at(-1)?.end).toBe(new TextEncoder().encode(text).length);
  });
});
