/** Merging and exporting in families whose files fuse matrices or keep them [in, out]. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { openTensorFolder } from '../formats/shardedSafetensors.ts';
import { memoryFile } from '../formats/testing.ts';
import { LiveMerge } from '../merge/liveMerge.ts';
import { adaptedMatrices, chosenMatrices } from '../models/adapters.ts';
import { type DecoderConfig, parseConfig } from '../models/config.ts';
import { Scorer } from '../models/scorer.ts';
import { folderTensors } from '../models/tensorSource.ts';
import { loadDecoder, matrixShape } from '../models/weights.ts';
import { NodeStorage, nodeFileSource } from '../storage/nodeStorage.ts';
import { exportModel } from './exportModel.ts';
import { loadMerged, openMerged } from './mergedModel.ts';
import { describeMerge } from './mergeFile.ts';
import { mergeView } from './mergeView.ts';
import { loadModel, type OpenModel } from './openModel.ts';

const goldens = join(import.meta.dirname, '../../fixtures/goldens/models');
const scratch = mkdtempSync(join(tmpdir(), 'alloy-families-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A folder's model without a tokenizer. */
async function opened(folder: string): Promise<OpenModel> {
  const document = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const open = async (name: string) =>
    existsSync(join(folder, name)) ? nodeFileSource(join(folder, name)) : null;
  return {
    name: 'pivot',
    identity: folder,
    config: parseConfig(document, 'config.json'),
    text: { tokenizer: { chatTemplate: null } } as never,
    tensors: folderTensors(await openTensorFolder(open, folder)),
    document,
    companions: [memoryFile(new TextEncoder().encode('{}'), 'tokenizer.json')],
  };
}

function delta(config: DecoderConfig, seed: number): LoraMatrix[] {
  return adaptedMatrices(config, 'all').map(({ matrix, path }, index) => {
    const [outFeatures, inFeatures] = matrixShape(config, matrix);
    const a = testValues(3 * inFeatures, seed + index, 0.2);
    const b = testValues(outFeatures * 3, seed + 50 + index, 0.2);
    return { module: path, rank: 3, scale: 2, inFeatures, outFeatures, a, b };
  });
}

async function logProbs({ config, weights, dispose }: Awaited<ReturnType<typeof loadModel>>) {
  const scorer = new Scorer(await testDevice(), config, weights, { topK: 4 });
  const [rows] = await scorer.score([Array.from({ length: 14 }, (_, i) => (7 * i + 3) % config.vocabSize)]);
  scorer.dispose();
  dispose();
  return rows!.labelLogProb;
}

const most = (a: Float32Array, b: Float32Array) =>
  a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);

test.each([
  ['gpt2', ['qkv', 'o', 'up', 'down']],
  ['gpt-neox', ['qkv', 'o', 'up', 'down']],
  ['phi3-longrope', ['qkv', 'o', 'gateUp', 'down']],
  ['olmo2-grouped', ['q', 'k', 'v', 'o', 'gate', 'up', 'down']],
])('%s: live, realised and exported a merge is one model', async (name, matrices) => {
  const device = await testDevice();
  const pivot = await opened(join(goldens, name));
  const deltas = [delta(pivot.config, 1), delta(pivot.config, 2)];
  const loaded = await loadDecoder(device, pivot.config, pivot.tensors);
  const live = await LiveMerge.create(device, pivot.config, loaded.weights, deltas, { kind: 'linear' });
  expect(mergeView(live, ['a', 'b']).matrices).toEqual(matrices);
  const sources = ['a', 'b'].map((source) => ({ name: source, adapter: `targets/${source}` }));
  const merge = await describeMerge(live, pivot, sources);
  live.dispose();
  loaded.dispose();
  const parts = { pivot, deltas, merge };
  const want = await logProbs(await loadMerged(device, parts));
  const model = await openMerged('merged', parts);
  expect(most(await logProbs(await loadModel(device, model)), want)).toBeLessThan(2e-4);
  expect(most(await logProbs(await loadModel(device, pivot)), want)).toBeGreaterThan(0.01);
  await exportModel(model, 'f32', new NodeStorage(join(scratch, name)));
  const exported = await opened(join(scratch, name));
  for (const tensor of pivot.tensors.names?.() ?? [])
    expect(exported.tensors.shape(tensor)).toEqual(pivot.tensors.shape(tensor));
  expect(most(await logProbs(await loadModel(device, exported)), want)).toBeLessThan(2e-4);
});

test('the config of an exported Gemma 2 has floats where transformers wants no whole numbers', async () => {
  const name = 'gemma2-capped';
  const storage = new NodeStorage(join(scratch, name));
  const model = await opened(join(goldens, name));
  const document = { ...model.document, final_logit_softcapping: 30, attn_logit_softcapping: 50 };
  await exportModel({ ...model, document }, 'f32', storage);
  const text = readFileSync(join(scratch, name, 'config.json'), 'utf8');
  expect(text).toContain('"final_logit_softcapping": 30.0,');
  expect(text).toContain('"attn_logit_softcapping": 50.0,');
  expect(JSON.parse(text)).toMatchObject(document);
});

test('LongRoPE by its first name is exported under the one that is still read', async () => {
  const name = 'phi3-longrope';
  const storage = new NodeStorage(join(scratch, `${name}-su`));
  const model = await opened(join(goldens, name));
  const older = JSON.parse(readFileSync(join(goldens, name, 'config.hub.json'), 'utf8'));
  const document = { ...older, rope_scaling: { ...older.rope_scaling, type: 'su' } };
  await exportModel({ ...model, document }, 'f32', storage);
  const written = JSON.parse(readFileSync(join(storage.root, 'config.json'), 'utf8'));
  expect(written.rope_scaling).toEqual({ ...older.rope_scaling, type: 'longrope' });
  expect(parseConfig(written, 'config.json')).toEqual(model.config);
});

test('names of matrices mean their counterparts in a family that fuses them', async () => {
  const of = async (name: string) => (await opened(join(goldens, name))).config;
  expect(chosenMatrices(await of('gpt2'), ['q', 'v', 'gate'])).toEqual(['qkv', 'up']);
  expect(chosenMatrices(await of('phi3-longrope'), ['k', 'up'])).toEqual(['qkv', 'gateUp']);
  expect(chosenMatrices(await of('qwen3'), ['qkv', 'gateUp'])).toEqual(['q', 'k', 'v', 'gate', 'up']);
  expect(chosenMatrices(await of('qwen3'), ['v', 'q'])).toEqual(['q', 'v']);
  const gpt2 = await of('gpt2');
  expect(() => chosenMatrices(gpt2, ['router'])).toThrow(
    'The pivot (gpt2) has no matrix "router"; choose among qkv, o, up, down in train.matrices, or all.',
  );
});
