import { expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { ON_WASM, openTestDevice, testDevice, testValues } from '../device/testing.ts';
import type { Recomputation } from '../graph/recompute.ts';
import { TrainableAdapters } from '../models/adapters.ts';
import { parseConfig } from '../models/config.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import type { Parameters } from '../models/parameters.ts';
import type { Precision } from '../models/tensorSource.ts';
import { type LoadOptions, loadDecoder } from '../models/weights.ts';
import { findNumberFault } from './faultSearch.ts';
import { ADAMW, randomBatch, randomTensors } from './testing.ts';
import { type MicroBatch, Trainer, type TrainerOptions } from './trainer.ts';

const LLAMA = {
  model_type: 'llama',
  vocab_size: 61,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  attention_bias: true,
  mlp_bias: true,
};
const GEMMA = {
  model_type: 'gemma3_text',
  vocab_size: 61,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 12,
  query_pre_attn_scalar: 20,
  sliding_window: 5,
  layer_types: ['sliding_attention', 'full_attention'],
  attn_logit_softcapping: 2,
  final_logit_softcapping: 3,
};

const [BATCH, LENGTH] = [2, 9];
const ROWS = BATCH * LENGTH;

const randomMicro = (vocab: number, seed: number, kept = 0): MicroBatch =>
  randomBatch({ vocab, rows: ROWS, length: LENGTH }, seed, kept);

const COMMON = {
  batch: BATCH,
  lengths: [LENGTH],
  ...ADAMW,
};

async function fullTrainer(
  device: Device,
  raw: object,
  extra: Partial<TrainerOptions> = {},
  load: Partial<LoadOptions> = {},
) {
  const config = parseConfig(raw, 'test');
  const loaded = await loadDecoder(device, config, randomTensors(config), { trainable: true, ...load });
  const parameters = loaded.parameters!;
  const trainer = new Trainer(device, { config, weights: loaded.weights, parameters, ...COMMON, ...extra });
  const dispose = () => {
    for (const one of [trainer, loaded]) one.dispose();
  };
  return { config, trainer, parameters, dispose };
}

async function loraTrainer(
  device: Device,
  raw: object,
  precision: Precision,
  extra: Partial<TrainerOptions> = {},
) {
  const config = parseConfig(raw, 'test');
  const loaded = await loadDecoder(device, config, randomTensors(config), { precision });
  const adapters = new TrainableAdapters(device, config, loaded.weights, {
    rank: 3,
    alpha: 6,
    matrices: ['q', 'v', 'o', 'up', 'down'],
  });
  adapters.parameters.names.forEach((name, index) => {
    const count = adapters.parameters.tensor(name).shape.reduce((product, size) => product * size, 1);
    adapters.parameters.set(name, testValues(count, 90 + index, 0.2));
  });
  const weights: DecoderWeights = adapters.weights;
  const trainer = new Trainer(device, {
    config,
    weights,
    parameters: adapters.parameters,
    ...COMMON,
    ...extra,
  });
  const dispose = () => {
    for (const one of [trainer, adapters, loaded]) one.dispose();
  };
  return { config, trainer, parameters: adapters.parameters, dispose };
}

async function weightedLoss(trainer: Trainer, micro: MicroBatch): Promise<number> {
  await trainer.accumulate([micro]);
  const rows = await trainer.rowLosses();
  return rows.reduce((sum, loss, i) => sum + loss * (micro.weights[i] ?? 0), 0);
}

/** Compares the gradient of every parameter with the change of the loss along a random direction. */
async function expectGradients(trainer: Trainer, parameters: Parameters, micro: MicroBatch): Promise<void> {
  await trainer.accumulate([micro]);
  for (const [index, name] of parameters.names.entries()) {
    const values = await parameters.read(name);
    const gradient = await parameters.read(name, 'g');
    const direction = testValues(values.length, 300 + index);
    const slope = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0);
    const step = 1e-3 / Math.max(1, Math.sqrt(values.length) / 8);
    const along = async (sign: number) => {
      parameters.set(
        name,
        values.map((value, i) => value + sign * step * direction[i]!),
      );
      return weightedLoss(trainer, micro);
    };
    const measured = ((await along(1)) - (await along(-1))) / (2 * step);
    parameters.set(name, values);
    expect(Math.abs(measured - slope), `${name}: ${measured} measured, ${slope} computed`).toBeLessThan(
      2e-3 + 2e-2 * Math.abs(slope),
    );
  }
}

test('gradients of all weights agree with finite differences (biases, grouped heads)', async () => {
  const { trainer, parameters, config, dispose } = await fullTrainer(await testDevice(), LLAMA);
  await expectGradients(trainer, parameters, randomMicro(config.vocabSize, 11));
  dispose();
});

test('gradients agree with finite differences through windows, caps and four norms, with a tail teacher', async () => {
  const teacher = { mode: 'tail', kept: 3 } as const;
  const { trainer, parameters, config, dispose } = await fullTrainer(await testDevice(), GEMMA, { teacher });
  await expectGradients(trainer, parameters, randomMicro(config.vocabSize, 21, 3));
  dispose();
});

test.each(['q4', 'q8', 'f16'] as const)(
  'gradients of adapters on %s weights agree with finite differences',
  async (precision) => {
    const { trainer, parameters, config, dispose } = await loraTrainer(await testDevice(), LLAMA, precision);
    await expectGradients(trainer, parameters, randomMicro(config.vocabSize, 31));
    dispose();
  },
);

test('a step in steady state makes no buffer, bind group or pipeline and reads nothing but the ring', async () => {
  const device = await testDevice();
  const { trainer, config, dispose } = await fullTrainer(device, LLAMA);
  const micro = randomMicro(config.vocabSize, 41);
  await trainer.step([micro], 1e-3, 1);
  await trainer.readLosses();
  const before = { ...device.stats };
  for (let step = 2; step <= 6; step++) await trainer.step([micro], 1e-3, step);
  const losses = await trainer.readLosses();
  const { submits: _, readbacks, ...after } = device.stats;
  expect(after).toEqual({
    ...after,
    buffersMade: before.buffersMade,
    bindGroups: before.bindGroups,
    pipelines: before.pipelines,
    bytes: before.bytes,
  });
  expect(readbacks - before.readbacks).toBe(1);
  expect(losses).toHaveLength(5);
  expect(losses.at(-1)!.supervised).toBeLessThan(losses[0]!.supervised);
  dispose();
});

test('two micro-batches give the gradient of both together', async () => {
  const { trainer, parameters, config, dispose } = await fullTrainer(await testDevice(), LLAMA);
  const [one, two] = [randomMicro(config.vocabSize, 51), randomMicro(config.vocabSize, 61)];
  const name = 'model.layers.1.mlp.up_proj.weight';
  await trainer.accumulate([one]);
  const first = await parameters.read(name, 'g');
  await trainer.accumulate([two]);
  const second = await parameters.read(name, 'g');
  await trainer.accumulate([one, two]);
  const both = await parameters.read(name, 'g');
  both.forEach((g, i) => {
    expect(Math.abs(g - first[i]! - second[i]!)).toBeLessThan(1e-6);
  });
  dispose();
});

test('replayed steps are equal to the bit, and a restored snapshot goes on with the same numbers', async () => {
  const device = await testDevice();
  const { trainer, parameters, config, dispose } = await fullTrainer(device, LLAMA);
  const micro = randomMicro(config.vocabSize, 71);
  await trainer.step([micro], 1e-2, 1);
  const snapshot = await parameters.snapshot();
  const run = async () => {
    for (let step = 2; step <= 4; step++) await trainer.step([micro], 1e-2, step);
    return (await trainer.readLosses()).slice(-3).map(({ supervised }) => supervised);
  };
  const first = await run();
  parameters.restore(snapshot);
  expect(await run()).toEqual(first);
  dispose();
});

test.each([
  ['all weights', LLAMA],
  ['all weights with windows, caps and four norms', GEMMA],
  ['adapters', LLAMA],
] as const)('%s: recomputation changes no bit and keeps less', async (kind, raw) => {
  const device = await testDevice();
  const deep = { ...raw, num_hidden_layers: 4, layer_types: undefined };
  const make = (recompute: Recomputation) =>
    kind === 'adapters'
      ? loraTrainer(device, deep, 'q8', { recompute })
      : fullTrainer(device, deep, { recompute });
  const measure = async (recompute: Recomputation) => {
    const { trainer, parameters, config, dispose } = await make(recompute);
    const micro = randomMicro(config.vocabSize, 81);
    await trainer.step([micro], 1e-2, 1);
    await trainer.accumulate([micro, randomMicro(config.vocabSize, 82)]);
    const gradients = await Promise.all(parameters.names.map((name) => parameters.read(name, 'g')));
    const rows = await trainer.rowLosses();
    dispose();
    return {
      bits: [...gradients, rows].map(({ buffer }) => new Uint32Array(buffer)),
      bytes: trainer.slotBytes,
    };
  };
  const [off, light, full] = [await measure('off'), await measure('light'), await measure('full')];
  expect(off.bits.some((part) => part.some((bits) => bits !== 0))).toBe(true);
  expect(light.bits).toEqual(off.bits);
  expect(full.bits).toEqual(off.bits);
  expect(light.bytes).toBeLessThan(0.9 * off.bytes);
  expect(full.bytes).toBeLessThan(0.6 * off.bytes);
});

test('a step that is not finite changes nothing, nor does any after it, and its first bad number is found', async () => {
  const device = await testDevice();
  const teacher = { mode: 'sparse', kept: 2 } as const;
  const { trainer, parameters, config, dispose } = await fullTrainer(device, LLAMA, { teacher });
  const good = randomMicro(config.vocabSize, 91, 2);
  const spoilt = (change: (micro: MicroBatch) => void): MicroBatch => {
    const copy = structuredClone(good);
    change(copy);
    return copy;
  };
  const nanTeacher = spoilt(({ teacher: rows }) => {
    const row = rows!.counts.findLastIndex((count) => count > 0);
    rows!.probs[2 * row] = Number.NaN;
  });
  await trainer.step([good], 1e-2, 1);
  const before = await parameters.snapshot();
  await trainer.step([good, nanTeacher], 1e-2, 2);
  await trainer.step([good], 1e-2, 3);
  expect(await parameters.snapshot()).toEqual(before);
  expect((await trainer.readLosses()).map(({ gradientScale }) => gradientScale > 0)).toEqual([
    true,
    false,
    false,
  ]);
  expect(await findNumberFault(trainer, parameters, [good])).toMatchObject({ kind: 'norm' });
  expect(await findNumberFault(trainer, parameters, [good, nanTeacher])).toMatchObject({
    kind: 'loss',
    micro: 1,
    sequence: 1,
    position: 7,
    term: 'distillation',
    value: Number.NaN,
  });
  const weighted = (weight: number) =>
    spoilt(({ weights }) => {
      weights[2 * (LENGTH + 1)] = weight;
    });
  expect(await findNumberFault(trainer, parameters, [weighted(1e25)])).toMatchObject({
    kind: 'norm',
    micro: 0,
  });
  expect(await findNumberFault(trainer, parameters, [good, weighted(8e37)])).toMatchObject({
    kind: 'gradient',
    micro: 1,
    sequence: 1,
    parameter: expect.stringContaining('layers.1.mlp.down_proj'),
  });
  dispose();
});

test.skipIf(ON_WASM)('submits cut as finely as can be change no bit', async () => {
  const run = async (device: Device) => {
    const { trainer, parameters, config, dispose } = await loraTrainer(device, LLAMA, 'q4');
    const micro = randomMicro(config.vocabSize, 101);
    for (let step = 1; step <= 2; step++) await trainer.step([micro], 1e-2, step);
    const values = await parameters.snapshot();
    dispose();
    return values.map(({ buffer }) => new Uint32Array(buffer));
  };
  const device = await openTestDevice({ submitGroups: 1 });
  expect(await run(device)).toEqual(await run(await testDevice()));
  device.dispose();
});

test('8-bit moments learn as f32 moments do, in less memory, and a snapshot goes on with the same bits', async () => {
  const device = await testDevice();
  const losses = new Map<string, number[]>();
  for (const optimizer of ['adamw', 'adamw8bit'] as const) {
    const { trainer, parameters, config, dispose } = await fullTrainer(device, LLAMA, {}, { optimizer });
    const micros = [111, 112, 113].map((seed) => randomMicro(config.vocabSize, seed));
    const run = async (from: number, to: number) => {
      for (let step = from; step <= to; step++) await trainer.step([micros[step % 3]!], 3e-3, step);
      return (await trainer.readLosses()).map(({ supervised }) => supervised);
    };
    const first = await run(1, 10);
    const snapshot = await parameters.snapshot();
    const second = await run(11, 30);
    parameters.restore(snapshot);
    expect(await run(11, 30)).toEqual(second);
    losses.set(optimizer, [...first, ...second]);
    const perParameter = parameters.bytes / parameters.arenas.reduce((sum, { length }) => sum + length, 0);
    expect(perParameter).toBeCloseTo(optimizer === 'adamw' ? 16 : 10.03, 1);
    dispose();
  }
  const [plain, packed] = [losses.get('adamw')!, losses.get('adamw8bit')!];
  const fall = plain[0]! - plain.at(-1)!;
  expect(fall).toBeGreaterThan(0.5 * plain[0]!);
  for (const [step, loss] of packed.entries())
    expect(Math.abs(loss - plain[step]!)).toBeLessThan(0.03 * fall);
});
