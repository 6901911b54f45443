import { expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { openTestDevice, testDevice, testValues } from '../device/testing.ts';
import { type DecoderConfig, parseConfig } from '../models/config.ts';
import { Generator, GREEDY } from '../models/generator.ts';
import { Scorer } from '../models/scorer.ts';
import type { TensorSource } from '../models/tensorSource.ts';
import { decoderTensors, loadDecoder } from '../models/weights.ts';
import { ADAMW } from './testing.ts';
import { Trainer } from './trainer.ts';

/** A head of its own, biases, and tables many times as large as a binding may be. */
const RAW = {
  model_type: 'qwen2',
  vocab_size: 403,
  hidden_size: 40,
  intermediate_size: 144,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 20,
};
const limits = { bindingBytes: 20 * 1024 };
const [BATCH, LENGTH] = [2, 9];

function source(config: DecoderConfig): TensorSource & { readonly asked: number[] } {
  const specs = new Map(decoderTensors(config).map((spec, index) => [spec.name, { ...spec, index }]));
  const values = (name: string) => {
    const { shape, index } = specs.get(name)!;
    const count = shape.reduce((product, size) => product * size, 1);
    const norm = shape.length === 1 && name.includes('norm');
    return testValues(count, index + 1, shape.length === 1 ? 0.3 : 0.2).map((x) => x + (norm ? 1 : 0));
  };
  return {
    file: 'random',
    asked: [],
    shape: (name) => specs.get(name)?.shape,
    vector: async (name) => values(name),
    async matrix(name, range) {
      const [rows = 1, cols = 1] = specs.get(name)!.shape;
      const { start, count } = range ?? { start: 0, count: rows };
      const data = values(name).slice(start * cols, (start + count) * cols);
      return { format: { kind: 'f32' }, rows: count, cols, data };
    },
  };
}

async function trained(device: Device, tied: boolean) {
  const config = parseConfig({ ...RAW, tie_word_embeddings: tied }, 'test');
  const loaded = await loadDecoder(device, config, source(config), { trainable: true });
  const parameters = loaded.parameters!;
  const trainer = new Trainer(device, {
    config,
    weights: loaded.weights,
    parameters,
    batch: BATCH,
    lengths: [LENGTH],
    ...ADAMW,
  });
  const rows = BATCH * LENGTH;
  const ids = Uint32Array.from(testValues(rows, 7), (x) => Math.floor(((x + 1) / 2) * config.vocabSize));
  const micro = {
    length: LENGTH,
    tokens: ids,
    labels: Int32Array.from(ids).reverse(),
    weights: new Float32Array(2 * rows).map((_, i) => (i % 2 === 0 ? 1 / rows : 0)),
  };
  await trainer.step([micro], 1e-3, 1);
  await trainer.accumulate([micro]);
  const gradients = new Map<string, Float32Array>();
  for (const name of parameters.names) gradients.set(name, await parameters.read(name, 'g'));
  const losses = await trainer.rowLosses();
  const chunks = loaded.weights.embedding.chunks.length;
  const arenas = parameters.arenas.length;
  const all = await parameters.readAll();
  for (const one of [trainer, loaded]) one.dispose();
  return { gradients, losses, chunks, arenas, all };
}

test.each([false, true])(
  'trainable tables larger than a binding train as whole ones (tied: %s)',
  async (tied) => {
    const small = await openTestDevice({ limits });
    const whole = await trained(await testDevice(), tied);
    const split = await trained(small, tied);
    expect(whole).toMatchObject({ chunks: 1, arenas: 1 });
    expect(split.chunks).toBeGreaterThan(3);
    expect(split.arenas).toBeGreaterThan(8);
    expect(split.losses.every((loss, i) => Math.abs(loss - whole.losses[i]!) < 1e-4)).toBe(true);
    for (const [name, gradient] of whole.gradients) {
      const other = split.gradients.get(name)!;
      const scale = Math.max(1e-3, ...gradient.map(Math.abs));
      expect(
        gradient.every((g, i) => Math.abs(g - other[i]!) < 1e-4 * scale),
        name,
      ).toBe(true);
      expect(split.all.get(name)).toHaveLength(gradient.length);
    }
    expect(small.stats.bytes).toBe(0);
    small.dispose();
  },
);

test.each(['f32', 'f16', 'q8', 'q4'] as const)(
  '%s tables larger than a binding score and write as whole ones',
  async (precision) => {
    const small = await openTestDevice({ limits });
    const results: unknown[] = [];
    for (const device of [await testDevice(), small]) {
      const config = parseConfig(RAW, 'test');
      const loaded = await loadDecoder(device, config, source(config), { precision });
      const scorer = new Scorer(device, config, loaded.weights, { topK: 4, batchTokens: 32 });
      const generator = new Generator(device, config, loaded.weights, { capacity: 24 });
      const [rows] = await scorer.score([[5, 400, 3, 77, 201]]);
      const written: number[] = [];
      for await (const { id } of generator.generate([5, 400], { ...GREEDY, maxNewTokens: 8 }, []))
        written.push(id);
      results.push({ ids: [...rows!.topIds], written });
      for (const one of [generator, scorer, loaded]) one.dispose();
    }
    expect(results[1]).toEqual(results[0]);
    expect(small.stats.bytes).toBe(0);
    small.dispose();
  },
);
