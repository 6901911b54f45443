import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { testDevice, testValues } from '../device/testing.ts';
import type { LoraMatrix } from '../formats/peft.ts';
import { openTensorFolder } from '../formats/shardedSafetensors.ts';
import { unpack } from '../kernels/weightFormat.ts';
import { LiveMerge, type LiveMethod } from '../merge/liveMerge.ts';
import { parseConfig } from '../models/config.ts';
import { Scorer } from '../models/scorer.ts';
import { folderTensors } from '../models/tensorSource.ts';
import { loadDecoder } from '../models/weights.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { loadMerged, type MergeParts, openMerged } from './mergedModel.ts';
import { describeMerge, mergeText, parseMergeFile } from './mergeFile.ts';
import { loadModel, type OpenModel } from './openModel.ts';

const folder = join(import.meta.dirname, '../../fixtures/goldens/models/llama-tied-gqa');
const MODULES = ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.down_proj'];
const TOKENS = Array.from({ length: 24 }, (_, i) => (7 * i + 3) % 150);

/** A recorded model without a tokenizer: only its weights matter here. */
async function pivot(): Promise<OpenModel> {
  const document = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const open = async (name: string) =>
    name === 'model.safetensors' ? nodeFileSource(join(folder, name)) : null;
  const tensors = folderTensors(await openTensorFolder(open, folder));
  const config = parseConfig(document, 'config.json');
  return {
    name: 'pivot',
    identity: 'pivot',
    config,
    text: undefined as never,
    tensors,
    document,
    companions: [],
  };
}

function delta({ tensors }: OpenModel, seed: number): LoraMatrix[] {
  return MODULES.map((module, index) => {
    const [outFeatures = 1, inFeatures = 1] = tensors.shape(`${module}.weight`) ?? [];
    const rank = 3;
    return {
      module,
      rank,
      scale: 2,
      inFeatures,
      outFeatures,
      a: testValues(rank * inFeatures, seed + index, 0.2),
      b: testValues(outFeatures * rank, seed + 10 + index, 0.2),
    };
  });
}

async function parts(method: LiveMethod): Promise<MergeParts> {
  const device = await testDevice();
  const base = await pivot();
  const deltas = [delta(base, 1), delta(base, 2), delta(base, 3)];
  const loaded = await loadDecoder(device, base.config, base.tensors);
  const live = await LiveMerge.create(device, base.config, loaded.weights, deltas, method);
  const merge = await describeMerge(
    live,
    base,
    ['a', 'b', 'c'].map((name) => ({ name, adapter: `targets/${name}` })),
  );
  live.dispose();
  loaded.dispose();
  return { pivot: base, deltas, merge };
}

async function logProbs(load: Awaited<ReturnType<typeof loadModel>>): Promise<Float32Array> {
  const scorer = new Scorer(await testDevice(), load.config, load.weights, { topK: 8 });
  const [rows] = await scorer.score([TOKENS]);
  scorer.dispose();
  load.dispose();
  return rows!.labelLogProb;
}

const METHODS: [string, LiveMethod][] = [
  ['linear', { kind: 'linear' }],
  ['linear with weights', { kind: 'linear', weights: [0.7, -0.2, 0.9] }],
  ['sce fork', { kind: 'sce', variant: 'fork', tau: 1 }],
  ['sce fork, selected', { kind: 'sce', variant: 'fork', tau: 0.3 }],
  ['sce paper, selected', { kind: 'sce', variant: 'paper', tau: 0.3 }],
  ['sce upstream', { kind: 'sce', variant: 'upstream', tau: 0.5 }],
];

describe('realised on the CPU and live on the GPU a merge is one model', () => {
  test.each(METHODS)('%s', async (_name, method) => {
    const device = await testDevice();
    const made = await parts(method);
    const model = await openMerged('merged', made);
    const realised = await logProbs(await loadModel(device, model));
    const live = await logProbs(await loadMerged(device, made));
    const untouched = await logProbs(await loadModel(device, made.pivot));
    const most = (a: Float32Array, b: Float32Array) =>
      a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
    expect(most(realised, live)).toBeLessThan(2e-4);
    expect(most(realised, untouched)).toBeGreaterThan(0.01);
  });

  test('with weights that were moved by hand', async () => {
    const device = await testDevice();
    const made = await parts({ kind: 'sce', variant: 'fork', tau: 1 });
    const matrices = made.merge.matrices.map((one, index) =>
      index === 0 ? { ...one, weights: [1, 0.1, 0] } : one,
    );
    const moved = { ...made, merge: { ...made.merge, matrices } };
    const [before, after] = [await openMerged('x', made), await openMerged('x', moved)];
    expect(after.identity).not.toBe(before.identity);
    const live = await logProbs(await loadMerged(device, moved));
    const realised = await logProbs(await loadModel(device, after));
    for (const [i, value] of realised.entries()) expect(value).toBeCloseTo(live[i]!, 3);
  });

  test('all weight on one source is that source', async () => {
    const made = await parts({ kind: 'linear', weights: [0, 1, 0] });
    const name = `${MODULES[0]}.weight`;
    const merged = unpack(await (await openMerged('x', made)).tensors.matrix(name));
    const base = unpack(await made.pivot.tensors.matrix(name));
    const { a, b, rank, inFeatures, scale } = made.deltas[1]![0]!;
    const [row, column] = [5, 7];
    let want = base[row * inFeatures + column]!;
    for (let r = 0; r < rank; r++) want += scale * b[row * rank + r]! * a[r * inFeatures + column]!;
    expect(merged[row * inFeatures + column]).toBeCloseTo(want, 5);
  });
});

describe('the file of a merge', () => {
  test('is read as it was written, a line a matrix', async () => {
    const { merge } = await parts({ kind: 'sce', variant: 'fork', tau: 1 });
    const text = mergeText(merge);
    expect(parseMergeFile(JSON.parse(text), 'merge.json')).toEqual(JSON.parse(JSON.stringify(merge)));
    expect(text.split('\n').filter((line) => line.includes('"module"'))).toHaveLength(2);
  });

  test('that lies is refused with the field', async () => {
    const { merge, ...rest } = await parts({ kind: 'linear' });
    const change = (value: object) => () => parseMergeFile({ ...merge, ...value }, 'run/merge.json');
    expect(change({ method: { kind: 'ties' } })).toThrow(/run\/merge\.json: method/u);
    expect(change({ sources: merge.sources.slice(1) })).toThrow(/q_proj has 3 weights for 2 sources/u);
    const matrices = merge.matrices.map((one) => ({ ...one, module: 'model.layers.9.self_attn.q_proj' }));
    await expect(openMerged('run', { ...rest, merge: { ...merge, matrices } })).rejects.toThrow(
      /the delta of a lacks model\.layers\.9/u,
    );
    const other = { ...rest.pivot, identity: 'another' };
    await expect(openMerged('run', { ...rest, pivot: other, merge })).rejects.toThrow(/is not the model/u);
    const short = rest.deltas.map((one) => one.map((matrix) => ({ ...matrix, outFeatures: 3 })));
    await expect(openMerged('run', { ...rest, deltas: short, merge })).rejects.toThrow(/does not fit/u);
  });
});
