/** Training in every family: what the reverse walk works out again changes no bit, of all weights or of adapters alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import { openTensorFolder } from '../formats/shardedSafetensors.ts';
import type { Recomputation } from '../graph/recompute.ts';
import { TrainableAdapters } from '../models/adapters.ts';
import { parseConfig } from '../models/config.ts';
import { folderTensors } from '../models/tensorSource.ts';
import { loadDecoder } from '../models/weights.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { required } from '../util/errors.ts';
import { ADAMW } from './testing.ts';
import { Trainer } from './trainer.ts';

const goldens = join(import.meta.dirname, '../../fixtures/goldens/models');
const [BATCH, LENGTH] = [2, 9];

/** Gradients of one batch, as bits. */
async function gradients(name: string, kind: 'all' | 'adapters', recompute: Recomputation) {
  const device = await testDevice();
  const folder = join(goldens, name);
  const config = parseConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), name);
  const open = async (file: string) =>
    file === 'model.safetensors' ? nodeFileSource(join(folder, file)) : null;
  const source = folderTensors(await openTensorFolder(open, folder));
  const all = kind === 'all';
  const loaded = await loadDecoder(device, config, source, all ? { trainable: true } : { precision: 'q8' });
  const plan = { rank: 2, alpha: 4, matrices: 'all' } as const;
  const adapters = all ? undefined : new TrainableAdapters(device, config, loaded.weights, plan);
  const parameters = adapters?.parameters ?? required(loaded.parameters, 'parameters');
  if (adapters) {
    adapters.parameters.names.forEach((parameter, index) => {
      const count = adapters.parameters.tensor(parameter).shape.reduce((a, b) => a * b, 1);
      adapters.parameters.set(parameter, testValues(count, 90 + index, 0.2));
    });
  }
  const trainer = new Trainer(device, {
    config,
    weights: adapters?.weights ?? loaded.weights,
    parameters,
    batch: BATCH,
    lengths: [LENGTH],
    ...ADAMW,
    recompute,
  });
  const tokens = Uint32Array.from({ length: BATCH * LENGTH }, (_, i) => (7 * i + 3) % config.vocabSize);
  const labels = Int32Array.from(tokens, (token) => (token + 5) % config.vocabSize);
  const weights = new Float32Array(2 * tokens.length).fill(0.05);
  await trainer.accumulate([{ length: LENGTH, tokens, labels, weights }]);
  const parts = await Promise.all(parameters.names.map((parameter) => parameters.read(parameter, 'g')));
  for (const one of [trainer, adapters, loaded]) one?.dispose();
  return parts.map(({ buffer }) => Buffer.from(buffer).toString('hex'));
}

test.each([
  'gpt2-odd',
  'pythia-sequential',
  'phi3-longrope',
  'olmo2-grouped',
  'granite-scaled',
  'smollm3-small',
  'gemma2-capped',
  'starcoder2-grouped',
])('%s', async (name) => {
  for (const kind of ['all', 'adapters'] as const) {
    const off = await gradients(name, kind, 'off');
    expect(off.every((part) => /[1-9a-f]/.test(part))).toBe(true);
    expect(await gradients(name, kind, 'light')).toEqual(off);
    expect(await gradients(name, kind, 'full')).toEqual(off);
  }
});
