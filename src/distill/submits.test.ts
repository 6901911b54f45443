import { expect, test } from 'vitest';
import { testValues } from '../device/testing.ts';
import { openDawn } from '../device/webgpu/dawn.ts';
import { type OpenOptions, WebGpuDevice } from '../device/webgpu/webGpuDevice.ts';
import { TrainableAdapters } from '../models/adapters.ts';
import { parseConfig } from '../models/config.ts';
import type { TensorSource } from '../models/tensorSource.ts';
import { decoderTensors, loadDecoder } from '../models/weights.ts';
import { Trainer } from './trainer.ts';

/** Nearly all of a step is in a few products whose workgroups have very different lengths: 256 and 16,384 terms. */
const CONFIG = parseConfig(
  {
    model_type: 'llama',
    vocab_size: 16_384,
    hidden_size: 256,
    intermediate_size: 1024,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
  'test',
);
const LENGTH = 256;

function randomTensors(): TensorSource {
  const shapes = new Map(decoderTensors(CONFIG).map(({ name, shape }) => [name, shape]));
  const values = (name: string) => {
    const shape = shapes.get(name)!;
    return testValues(
      shape.reduce((product, size) => product * size, 1),
      name.length,
      0.1,
    );
  };
  return {
    file: 'random',
    shape: (name) => shapes.get(name),
    vector: async (name) => values(name),
    async matrix(name) {
      const [rows = 1, cols = 1] = shapes.get(name)!;
      return { format: { kind: 'f32' }, rows, cols, data: values(name) };
    },
  };
}

/** Longest submit and time of each step, and what was learnt. */
async function train(steps: number, options: OpenOptions, timestamps = true) {
  const device = await WebGpuDevice.open(await openDawn(), options);
  if (!timestamps) (device.info.features as Set<string>).delete('timestamp-query');
  const { weights } = await loadDecoder(device, CONFIG, randomTensors(), { precision: 'q4' });
  const adapters = new TrainableAdapters(device, CONFIG, weights, {
    rank: 4,
    alpha: 8,
    matrices: 'all',
    optimizer: 'adamw',
  });
  adapters.initialise(1);
  const { parameters } = adapters;
  const optimizer = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 };
  const shape = { batch: 1, lengths: [LENGTH], recompute: 'off' } as const;
  const trainer = new Trainer(device, {
    config: CONFIG,
    weights: adapters.weights,
    parameters,
    ...shape,
    ...optimizer,
  });
  const tokens = Uint32Array.from({ length: LENGTH }, (_, at) => (at * 7919) % CONFIG.vocabSize);
  const lossWeights = Float32Array.from({ length: 2 * LENGTH }, (_, at) => (at % 2 === 0 ? 1 / LENGTH : 0));
  const micro = { length: LENGTH, tokens, labels: Int32Array.from(tokens), weights: lossWeights };
  await device.idle();
  const longest: number[] = [];
  const took: number[] = [];
  for (let step = 1; step <= steps; step++) {
    device.stats.longestSubmitMs = 0;
    const started = performance.now();
    await trainer.step([micro], 1e-2, step);
    await device.idle();
    took.push(performance.now() - started);
    longest.push(device.stats.longestSubmitMs);
  }
  const learnt = await parameters.snapshot();
  device.dispose();
  return { longest, took, learnt };
}

test('no submit of a step is long, first steps and devices without a clock included, and no cut changes a bit', async () => {
  const clocked = await train(2, {});
  const unclocked = await train(2, {}, false);
  for (const { longest, took } of [clocked, unclocked]) {
    // Milliseconds on an idle machine; others who use it stretch single submits as they stretch the step.
    longest.forEach((ms, step) => {
      expect(ms).toBeLessThan(Math.max(step === 0 ? 600 : 250, 0.5 * took[step]!));
    });
  }
  expect(unclocked.learnt).toEqual(clocked.learnt);
  const apart = await train(2, { submitGroups: 4096 });
  expect(apart.learnt).toEqual(clocked.learnt);
}, 240_000);
