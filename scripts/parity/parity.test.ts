import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ON_WASM, openTestDevice, testDevice } from '../../src/device/testing.ts';
import type { TensorSource } from '../../src/models/tensorSource.ts';
import { Checks } from './checks.ts';
import { checkMerge } from './merge.ts';
import { checkModels } from './models.ts';
import { checkQuant } from './quant.ts';

/** The assertions show what failed; the wrong weight is meant to fail. */
const quiet = () => undefined;
const goldens = join(import.meta.dirname, '../../fixtures/goldens');

test('models of every family agree with the recordings', async () => {
  const checks = new Checks(quiet);
  await checkModels(await testDevice(), goldens, checks);
  expect(checks.failed).toEqual([]);
  expect(checks.all.length).toBeGreaterThan(1000);
});

test.skipIf(ON_WASM)('so do they with the kernels that real GPUs run', async () => {
  const device = await openTestDevice({ software: false });
  const checks = new Checks(quiet);
  await checkModels(device, goldens, checks, undefined, [
    'gemma3',
    'llama-tied-gqa',
    'qwen2',
    'gpt2',
    'pythia-sequential',
    'phi3-longrope',
    'olmo2-grouped',
    'granite-scaled',
  ]);
  expect(checks.failed).toEqual([]);
  expect(checks.all.length).toBeGreaterThan(150);
});

test('a family that is not supported, or no model at all, fails with a sentence', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'alloy-goldens-'));
  for (const [name, text] of [
    ['mamba', '{ "model_type": "mamba", "hidden_size": 8 }'],
    ['torn', '{ "model_type": "llama", '],
  ] as const) {
    await mkdir(join(folder, 'models', name), { recursive: true });
    await writeFile(join(folder, 'models', name, 'config.json'), text);
  }
  const checks = new Checks(quiet);
  await checkModels(await testDevice(), folder, checks);
  expect(checks.failed.map(({ name }) => name)).toEqual(['mamba', 'torn']);
  expect(checks.failed[0]?.detail).toContain('the architecture "mamba" (model_type) is not supported');
});

test('block types agree with the recordings', async () => {
  const checks = new Checks(quiet);
  await checkQuant(await testDevice(), goldens, checks);
  expect(checks.failed).toEqual([]);
  expect(checks.all.length).toBeGreaterThan(40);
});

test('merges agree with the recordings', () => {
  const checks = new Checks(quiet);
  checkMerge(goldens, checks);
  expect(checks.failed).toEqual([]);
  expect(checks.all.length).toBeGreaterThan(5);
});

/** One element of one matrix, changed by a hundredth of the matrix's largest value. */
function oneWrongWeight(source: TensorSource): TensorSource {
  return {
    ...source,
    async matrix(name) {
      const matrix = await source.matrix(name);
      if (name !== 'model.layers.1.self_attn.o_proj.weight') return matrix;
      const data = Float32Array.from(matrix.data);
      const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      data[7] = (data[7] ?? 0) + 0.01 * largest;
      return { ...matrix, data };
    },
  };
}

test('one wrong weight is noticed in the logits and the gradients', async () => {
  const checks = new Checks(quiet);
  await checkModels(await testDevice(), goldens, checks, oneWrongWeight, ['llama-tied-gqa']);
  const failed = checks.failed.map(({ name }) => name).join('\n');
  for (const part of ['logits', 'gradient of model.layers.0', 'distillation']) expect(failed).toContain(part);
});
