import { describe, expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { ownTestDevice } from '../device/testing.ts';
import { nodeWasmHost } from '../device/wasm/nodeWasmHost.ts';
import { WasmDevice } from '../device/wasm/wasmDevice.ts';
import { TrainableAdapters } from '../models/adapters.ts';
import { parseConfig } from '../models/config.ts';
import { loadDecoder } from '../models/weights.ts';
import { ADAMW, randomBatch, randomTensors } from './testing.ts';
import { Trainer } from './trainer.ts';

const STEPS = 20;
const [BATCH, LENGTH, KEPT] = [2, 24, 6];
const CONFIG = parseConfig(
  {
    model_type: 'qwen2',
    vocab_size: 320,
    hidden_size: 64,
    intermediate_size: 160,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
  'test',
);

/** The losses of a whole run, with labels and teacher rows, nats: supervised and distilled of every step. */
async function lossesOn(
  device: Device,
  kind: 'all weights' | 'adapters of a 4-bit model',
): Promise<number[]> {
  const whole = kind === 'all weights';
  const loaded = await loadDecoder(
    device,
    CONFIG,
    randomTensors(CONFIG),
    whole ? { trainable: true } : { precision: 'q4' },
  );
  const adapters = whole
    ? undefined
    : new TrainableAdapters(device, CONFIG, loaded.weights, {
        rank: 8,
        alpha: 16,
        matrices: ['q', 'v', 'down'],
      });
  adapters?.initialise(1);
  const trainer = new Trainer(device, {
    config: CONFIG,
    weights: adapters?.weights ?? loaded.weights,
    parameters: adapters?.parameters ?? loaded.parameters!,
    batch: BATCH,
    lengths: [LENGTH],
    teacher: { mode: 'sparse', kept: KEPT },
    ...ADAMW,
  });
  for (let step = 1; step <= STEPS; step++) {
    const micro = randomBatch(
      { vocab: CONFIG.vocabSize, rows: BATCH * LENGTH, length: LENGTH },
      7 * (step % 4),
      KEPT,
    );
    await trainer.step([micro], 2e-3, step);
  }
  const losses = await trainer.readLosses();
  for (const one of [trainer, adapters, loaded]) one?.dispose();
  return losses.flatMap(({ supervised, distillation }) => [supervised, distillation]);
}

describe.each(['all weights', 'adapters of a 4-bit model'] as const)('%s', (kind) => {
  test('a run on WASM differs from one on WebGPU by rounding alone', async () => {
    const gpu = await ownTestDevice();
    const expected = await lossesOn(gpu, kind);
    gpu.dispose();
    expect(expected.length).toBe(2 * STEPS);
    expect(expected.at(-2)).toBeLessThan(expected[0]! - 0.1);
    for (const relaxed of [true, false]) {
      const wasm = await WasmDevice.open(nodeWasmHost(2, { relaxed }));
      const got = await lossesOn(wasm, kind);
      wasm.dispose();
      const worst = Math.max(...expected.map((loss, index) => Math.abs(loss - got[index]!)));
      expect(worst).toBeLessThan(1e-4);
    }
  });

  test('on WASM it is the same to the bit, whatever the number of threads', async () => {
    const runs = [];
    for (const threads of [0, 1, 3]) {
      const device = await WasmDevice.open(nodeWasmHost(threads));
      runs.push(await lossesOn(device, kind));
      device.dispose();
    }
    expect(runs[1]).toStrictEqual(runs[0]);
    expect(runs[2]).toStrictEqual(runs[0]);
  });
});
