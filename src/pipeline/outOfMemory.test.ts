import { expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { ON_WASM, openTestDevice, ownTestDevice, withRoom } from '../device/testing.ts';
import { AlloyError } from '../util/errors.ts';
import type { RunEvent } from './protocol.ts';
import { parseRecipe } from './recipe.ts';
import { StudioEngine } from './studioEngine.ts';
import { TINY_RECIPE, tinyHost } from './testing.ts';

const question = [{ role: 'user', content: 'name one like the eel' }] as const;

test.skipIf(ON_WASM)(
  'what a GPU has no room for fails alone: nothing is left of it, and all else goes on',
  async () => {
    const device = await ownTestDevice();
    const room = { bytes: Number.POSITIVE_INFINITY };
    withRoom(device, room);
    const engine = new StudioEngine(tinyHost(async () => device));
    const full = {
      code: 'out-of-memory',
      message: expect.stringMatching(/has no room for .* choose a smaller model/u),
    };
    const before = await engine.nextTokens('reader', question, 3);

    const held = device.stats.bytes;
    room.bytes = held + 4096;
    await expect(engine.nextTokens('writer', question, 3)).rejects.toMatchObject(full);
    expect(device.stats.bytes).toBe(held);
    expect(await engine.nextTokens('reader', question, 3)).toEqual(before);

    const train = { ...TINY_RECIPE.train, steps: 2 };
    const evaluate = { bootstrap: 100, accuracy: false };
    const recipe = parseRecipe({ ...TINY_RECIPE, sources: ['reader'], train, evaluate }, 'tiny');
    room.bytes = held + 600_000;
    await expect(engine.fuse(recipe, () => undefined)).rejects.toMatchObject({
      code: 'out-of-memory',
      message: expect.stringMatching(
        /has no room for .*; it would take .* instead of .* when the recipe says /u,
      ),
    });
    expect(device.stats.bytes).toBe(held);
    expect(await engine.nextTokens('reader', question, 3)).toEqual(before);

    room.bytes = Number.POSITIVE_INFINITY;
    expect(await engine.fuse(recipe, () => undefined)).toBe('done');
    await engine.setMethod('linear');
    const linear = await engine.nextTokens('fused', question, 3);
    room.bytes = device.stats.bytes + 20_000;
    await expect(engine.setMethod('sce')).rejects.toMatchObject(full);
    expect((await engine.mergeView()).method).toBe('linear');
    expect(await engine.nextTokens('fused', question, 3)).toEqual(linear);
    room.bytes = Number.POSITIVE_INFINITY;
    expect((await engine.setMethod('sce')).method).toBe('sce');
    device.check();
    device.dispose();
  },
  60_000,
);

test('a limit on all buffers together is kept the same way', async () => {
  const probe = await openTestDevice();
  const first = new StudioEngine(tinyHost(async () => probe));
  await first.nextTokens('reader', question, 3);
  const needed = probe.stats.peakBytes;
  probe.dispose();

  const device = await openTestDevice({ limits: { totalBytes: needed + 10_000 } });
  const engine = new StudioEngine(tinyHost(async () => device));
  const rows = await engine.nextTokens('reader', question, 3);
  const held = device.stats.bytes;
  await expect(engine.nextTokens('writer', question, 3)).rejects.toMatchObject({
    code: 'out-of-memory',
    message: expect.stringMatching(/does not fit: .* that may be used are taken/u),
  });
  expect(device.stats.bytes).toBe(held);
  // The prompt is in the cache now and its last token is read alone, by kernels that add up in another order.
  const close = rows.map((row) => ({ ...row, probability: expect.closeTo(row.probability, 5) }));
  expect(await engine.nextTokens('reader', question, 3)).toEqual(close);
  device.dispose();
}, 60_000);

test('a merge that the recipe does not name is left out of its report where it finds no room', async () => {
  const device: Device = await openTestDevice();
  const create = device.createBuffer.bind(device);
  device.createBuffer = (bytes, label, kind) => {
    if (label === 'merged delta') throw new AlloyError('out-of-memory', 'no room for dense differences');
    return create(bytes, label, kind);
  };
  const engine = new StudioEngine(tinyHost(async () => device));
  const recipe = parseRecipe(
    {
      ...TINY_RECIPE,
      sources: ['reader'],
      train: { ...TINY_RECIPE.train, steps: 2 },
      evaluate: { bootstrap: 100, accuracy: false },
      merge: { method: 'linear' },
    },
    'tiny',
  );
  const events: RunEvent[] = [];
  expect(await engine.fuse(recipe, (event) => events.push(event))).toBe('done');
  const [report] = events.flatMap((event) => (event.kind === 'report' ? [event.report] : []));
  const merged = report?.suites[0]?.rows.filter(({ role }) => role === 'merged');
  expect(merged?.map(({ model }) => model)).toEqual(['merged (linear)']);
  expect(events).toContainEqual({ kind: 'note', text: expect.stringContaining('merged (sce) is left out') });
  expect((await engine.mergeView()).method).toBe('linear');
  device.dispose();
}, 60_000);
