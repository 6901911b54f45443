import { describe, expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import { CHOSEN_BYTES, sampleNext, settingsWords } from './sampleNext.ts';
import { type SamplingSettings, sampleToken } from './sampling.ts';

type Settings = Omit<SamplingSettings, 'counter'>;

/** Draws at the positions `first + 1 ...` on the device, one dispatch behind the other, and reads them all. */
async function drawn(logProbs: Float32Array, settings: Settings, first: number, count: number) {
  const device = await testDevice();
  const ids = Uint32Array.from(logProbs, (_, e) => 1000 + 7 * e);
  const tokens = device.createBuffer(256 * count, 'tokens');
  const shared = {
    ids: device.createFrom(ids, 'ids'),
    logProbs: device.createFrom(Float32Array.from(logProbs), 'log-probabilities'),
    settings: device.createFrom(settingsWords(settings), 'settings'),
    state: device.createFrom(Uint32Array.of(first, 1), 'state'),
    chosen: device.createBuffer(CHOSEN_BYTES, 'chosen'),
  };
  device.run(
    Array.from({ length: count }, (_, step) =>
      sampleNext({ ...shared, tokens: tokens.slice(256 * step, 4) }, logProbs.length),
    ),
  );
  const got = (await device.downloadU32(tokens)).filter((_, at) => at % 64 === 0);
  const state = await device.downloadU32(shared.state, 2);
  const chosen = await device.downloadU32(shared.chosen, 2);
  for (const buffer of [tokens, ...Object.values(shared)]) device.destroyBuffer(buffer);
  const want = Array.from({ length: count }, (_, step) =>
    sampleToken(ids, logProbs, { ...settings, counter: first + step + 1 }),
  );
  return { got: [...got], want, state: [...state], chosen, ids };
}

/** A row of `count` entries, best first. */
function row(count: number, spread: number): Float32Array {
  return testValues(count, count, spread)
    .sort()
    .reverse()
    .map((x) => x - 2 * spread);
}

const settings: Settings = { temperature: 1, topK: 0, topP: 1, seed: 42 };

describe('draws are those of the host', () => {
  test.each<[string, number, Partial<Settings>]>([
    ['greedy', 64, { temperature: 0 }],
    ['plain', 64, {}],
    ['one entry', 1, {}],
    ['hot', 64, { temperature: 2.5 }],
    ['cold', 33, { temperature: 0.05 }],
    ['the best five', 64, { topK: 5 }],
    ['more than there are', 17, { topK: 50 }],
    ['a nucleus', 64, { topP: 0.8 }],
    ['a nucleus of nothing', 64, { topP: 0 }],
    ['all of it', 40, { topK: 20, topP: 0.9, temperature: 0.7 }],
    ['a seed of more than 32 bits', 64, { seed: 2 ** 40 + 12345 }],
  ])('%s', async (_, count, change) => {
    const { got, want, state, chosen, ids } = await drawn(
      row(count, 3),
      { ...settings, ...change },
      500,
      200,
    );
    expect(got).toEqual(want);
    expect(state).toEqual([700, 1]);
    const entry = ids.indexOf(chosen[0]!);
    expect(new Float32Array(chosen.buffer)[1]).toBe(row(count, 3)[entry]);
  });

  test('from another seed they differ', async () => {
    const one = await drawn(row(64, 1), settings, 0, 50);
    const other = await drawn(row(64, 1), { ...settings, seed: 43 }, 0, 50);
    expect(one.got).not.toEqual(other.got);
  });
});

test('an entry that is no number is never drawn', async () => {
  const { got } = await drawn(Float32Array.of(-1, -1, Number.NaN, -1), settings, 0, 100);
  expect(new Set(got)).toEqual(new Set([1000, 1007, 1021]));
});

test('a row without entries gives no token', async () => {
  const device = await testDevice();
  const buffers = {
    ids: device.createFrom(new Uint32Array(4).fill(0xffff_ffff), 'ids'),
    logProbs: device.createFrom(new Float32Array(4).fill(-3e38), 'log-probabilities'),
    settings: device.createFrom(settingsWords(settings), 'settings'),
    state: device.createFrom(Uint32Array.of(3, 1), 'state'),
    tokens: device.createBuffer(4, 'tokens'),
    chosen: device.createBuffer(CHOSEN_BYTES, 'chosen'),
  };
  device.run([sampleNext(buffers, 4)]);
  expect((await device.downloadU32(buffers.chosen, 1))[0]).toBe(0xffff_ffff);
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
});
