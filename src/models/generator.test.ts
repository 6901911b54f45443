import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { openTestDevice, testDevice, testValues } from '../device/testing.ts';
import { sampleToken } from '../kernels/sampling.ts';
import { type DecoderConfig, parseConfig } from './config.ts';
import { Generator, GREEDY, type SamplingOptions } from './generator.ts';
import type { Precision, TensorSource } from './tensorSource.ts';
import { decoderTensors, type LoadedDecoder, loadDecoder } from './weights.ts';

const LLAMA = {
  model_type: 'llama',
  vocab_size: 131,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  tie_word_embeddings: false,
};
const QWEN3 = { ...LLAMA, model_type: 'qwen3', head_dim: 20 };
const GEMMA3 = {
  ...LLAMA,
  model_type: 'gemma3_text',
  head_dim: 12,
  sliding_window: 7,
  final_logit_softcapping: 5,
};
function randomTensors(config: DecoderConfig): TensorSource {
  const specs = new Map(
    decoderTensors(config).map(({ name, shape }, seed) => [name, { shape, seed: seed + 1 }]),
  );
  const values = (name: string) => {
    const { shape, seed } = specs.get(name)!;
    const count = shape.reduce((product, size) => product * size, 1);
    return testValues(count, seed, shape.length === 1 ? 0.3 : 0.35).map((x) =>
      shape.length === 1 ? 1 + x : x,
    );
  };
  return {
    file: 'random',
    shape: (name) => specs.get(name)?.shape,
    vector: async (name) => values(name),
    async matrix(name) {
      const [rows = 1, cols = 1] = specs.get(name)!.shape;
      return { format: { kind: 'f32' }, rows, cols, data: values(name) };
    },
  };
}

const PROMPT = [5, 130, 17, 17, 64, 3, 99];
const CHANCE: SamplingOptions = { temperature: 1.3, topK: 20, topP: 0.9, seed: 7, maxNewTokens: 24 };
const BEST: SamplingOptions = { ...GREEDY, maxNewTokens: 24 };

async function generated(
  generator: Generator,
  sampling: SamplingOptions,
  stops: number[] = [],
  stopAfter = Infinity,
) {
  const ids: number[] = [];
  const logProbs: number[] = [];
  const tokens = generator.generate(PROMPT, sampling, stops);
  for (;;) {
    const next = await tokens.next();
    if (next.done) return { ids, logProbs, stop: next.value };
    ids.push(next.value.id);
    logProbs.push(next.value.logProb);
    if (ids.length === stopAfter) {
      await tokens.return('interrupted');
      return { ids, logProbs, stop: 'left' };
    }
  }
}

/** Token by token through rows that the host reads and chooses from. */
async function byHand(generator: Generator, sampling: SamplingOptions) {
  generator.rewind(0);
  let row = await generator.prompt(PROMPT);
  const ids: number[] = [];
  const logProbs: number[] = [];
  for (let count = 0; count < sampling.maxNewTokens; count++) {
    const id = sampleToken(row.ids, row.logProbs, { ...sampling, counter: PROMPT.length + count });
    ids.push(id);
    logProbs.push(row.logProbs[row.ids.indexOf(id)]!);
    row = await generator.feed([id]);
  }
  return { ids, logProbs };
}

describe.each<[string, object, Precision, boolean]>([
  ['llama', LLAMA, 'f32', true],
  ['qwen3 in 4 bits', QWEN3, 'q4', true],
  ['gemma3 in 8 bits for a GPU', GEMMA3, 'q8', false],
])('%s', (_, json, precision, software) => {
  const config = parseConfig(json, 'test');
  let device: Device;
  let loaded: LoadedDecoder;
  const make = (ahead: number) => new Generator(device, config, loaded.weights, { capacity: 40, ahead });

  beforeAll(async () => {
    device = software ? await testDevice() : await openTestDevice({ software: false });
    loaded = await loadDecoder(device, config, randomTensors(config), { precision });
  });
  afterAll(() => {
    loaded.dispose();
    if (!software) device.dispose();
  });

  test.each([0, 1, 2])('%i steps ahead give the tokens that a host would choose', async (ahead) => {
    const generator = make(ahead);
    const fresh = make(0);
    for (const sampling of [BEST, CHANCE]) {
      const want = await byHand(fresh, sampling);
      const got = await generated(generator, sampling);
      expect(got).toMatchObject({ ids: want.ids, stop: 'length' });
      // The prompt went through other passes where its beginning was in the cache.
      got.logProbs.forEach((logProb, at) => {
        expect(Math.abs(logProb - want.logProbs[at]!)).toBeLessThan(2e-5);
      });
      expect(generator.tokens).toEqual([...PROMPT, ...want.ids.slice(0, -1)]);
    }
    for (const one of [generator, fresh]) one.dispose();
  });

  test('token by token gives the rows of all at once', async () => {
    const [one, all] = [make(0), make(0)];
    for (const [at, token] of PROMPT.entries()) {
      const row = await one.feed([token]);
      const want = await all.prompt(PROMPT.slice(0, at + 1));
      all.rewind(0);
      expect(row.ids[0]).toBe(want.ids[0]);
      row.logProbs.forEach((logProb, e) => {
        expect(Math.abs(logProb - want.logProbs[e]!)).toBeLessThan(2e-5);
      });
    }
    for (const generator of [one, all]) generator.dispose();
  });

  test('what was computed past a stop token or a reader who left is thrown away', async () => {
    const generator = make(2);
    const { ids } = await byHand(generator, CHANCE);
    const stop = ids[9]!;
    const end = ids.indexOf(stop);
    const cut = await generated(generator, CHANCE, [stop]);
    expect(cut).toMatchObject({ ids: ids.slice(0, end), stop: 'end' });
    expect(generator.tokens).toEqual([...PROMPT, ...ids.slice(0, end)]);
    expect((await generated(generator, CHANCE, [], 5)).ids).toEqual(ids.slice(0, 5));
    expect((await generated(generator, CHANCE)).ids).toEqual(ids);
    generator.dispose();
  });
});

test('a step is one submit, makes nothing, and a full cache ends the answer', async () => {
  const device = await testDevice();
  const config = parseConfig(LLAMA, 'test');
  const loaded = await loadDecoder(device, config, randomTensors(config));
  const generator = new Generator(device, config, loaded.weights, { capacity: PROMPT.length + 12, ahead: 2 });
  await generated(generator, BEST);
  const before = { ...device.stats };
  const { ids, stop } = await generated(generator, BEST);
  expect([ids.length, stop]).toEqual([12, 'length']);
  // The prompt's last token is read again, then eleven steps.
  expect(device.stats.submits - before.submits).toBe(12);
  expect(device.stats.buffersMade - before.buffersMade).toBe(0);
  expect(device.stats.bindGroups - before.bindGroups).toBe(0);
  generator.dispose();
  loaded.dispose();
});

test('a signal ends the answer at the next token', async () => {
  const device = await testDevice();
  const config = parseConfig(LLAMA, 'test');
  const loaded = await loadDecoder(device, config, randomTensors(config));
  const generator = new Generator(device, config, loaded.weights, { capacity: 40, ahead: 2 });
  const abort = new AbortController();
  const tokens = generator.generate(PROMPT, CHANCE, [], abort.signal);
  const first = await tokens.next();
  abort.abort();
  expect(await tokens.next()).toEqual({ done: true, value: 'interrupted' });
  const { ids } = await byHand(generator, CHANCE);
  expect(first.value).toMatchObject({ id: ids[0] });
  generator.dispose();
  loaded.dispose();
});
