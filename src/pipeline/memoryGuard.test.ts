import { expect, test } from 'vitest';
import { openTestDevice } from '../device/testing.ts';
import type { Report, RunEvent } from './protocol.ts';
import { parseRecipe } from './recipe.ts';
import { StudioEngine } from './studioEngine.ts';
import { TINY_RECIPE, tinyHost } from './testing.ts';

const question = [{ role: 'user', content: 'name one like the eel' }] as const;

function recipe(memory: object, train: object = {}) {
  const base = { ...TINY_RECIPE, sources: ['reader'], evaluate: { bootstrap: 100, accuracy: false } };
  const settings = { ...TINY_RECIPE.train, steps: 3, batch: 4, checkpointEvery: 100, ...train };
  return parseRecipe({ ...base, train: settings, memory }, 'tiny');
}

test('a run that would not fit ends before it begins and names one that does; that one runs within the limit', async () => {
  const device = await openTestDevice();
  const engine = new StudioEngine(tinyHost(async () => device));
  const reports: Report[] = [];
  const notes: string[] = [];
  const take = (event: RunEvent) => {
    if (event.kind === 'report') reports.push(event.report);
    if (event.kind === 'note') notes.push(event.text);
  };
  device.memory.restartPeak();
  expect(await engine.fuse(recipe({}, { recompute: 'off' }), take)).toBe('done');
  const free = device.stats.peakBytes;
  const forecast = await engine.planMemory(recipe({}, { recompute: 'off' }));
  expect(forecast).toMatchObject({ fits: true, chosen: [] });
  expect(Math.abs(forecast.peak.bytes / free - 1), `${forecast.peak.bytes} of ${free}`).toBeLessThan(0.05);
  expect(forecast.suggestions.length).toBeGreaterThan(0);

  const tight = { limit: Math.floor(0.8 * free) };
  await expect(engine.fuse(recipe(tight, { recompute: 'off' }), take)).rejects.toMatchObject({
    code: 'out-of-memory',
    message: expect.stringMatching(
      /would take .* on the device \(.*\), but only .* may be used; it fits with .* when the recipe says/u,
    ),
  });
  await expect(engine.fuse(recipe({ limit: 1000, shrink: true }), take)).rejects.toMatchObject({
    code: 'out-of-memory',
    message: expect.stringMatching(/even the smallest, with .* too much/u),
  });
  expect((await engine.nextTokens('fused', question, 3)).length).toBe(3);

  const other = await openTestDevice();
  const fresh = new StudioEngine(tinyHost(async () => other));
  expect(await fresh.fuse(recipe({ ...tight, shrink: true }, { recompute: 'off' }), take)).toBe('done');
  expect(other.stats.peakBytes).toBeLessThanOrEqual(tight.limit);
  expect(notes.at(-1)).toMatch(/^To stay within .* on the device \(.* planned\): /u);
  expect(reports.at(-1)?.recipe.memory).toMatchObject(tight);
  for (const one of [device, other]) one.dispose();
}, 120_000);
