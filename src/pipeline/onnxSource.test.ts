/** One model as safetensors and as ONNX: rows through our decoder and through onnxruntime-web. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../device/device.ts';
import { ON_WASM, testDevice } from '../device/testing.ts';
import { openDawnForRuntimes } from '../device/webgpu/dawn.ts';
import type { WebGpuDevice } from '../device/webgpu/webGpuDevice.ts';
import { markIds } from '../kernels/rowStats.ts';
import { loadOnnx } from '../models/onnxModel.ts';
import { ONNX_PLACES } from '../models/onnxRuntime.ts';
import { rowScorer } from '../models/rowScorer.ts';
import type { ScoredRows } from '../models/scorer.ts';
import { nodeOnnxHost } from '../storage/nodeOnnxHost.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { provideOnnxHost } from '../util/onnxHost.ts';
import { loadModel, type OpenModel, openFolder } from './openModel.ts';

const folder = join(import.meta.dirname, '../../fixtures/onnx');
const open = async (name: string) =>
  existsSync(join(folder, name)) ? nodeFileSource(join(folder, name), `tiny/${name}`) : null;
const withoutTensors = async (name: string) => (name.endsWith('.safetensors') ? null : open(name));
const sequences = [
  Array.from({ length: 45 }, (_, i) => (i * 37 + 11) % 320),
  [5],
  Array.from({ length: 17 }, (_, i) => 300 - i),
];

let device: Device;
let own: OpenModel;
let wanted: ScoredRows[];

beforeAll(async () => {
  provideOnnxHost(nodeOnnxHost(openDawnForRuntimes));
  device = await testDevice();
  own = await openFolder('own', 'tiny', open);
  const loaded = await loadModel(device, own);
  wanted = await rowsOf(loaded);
  loaded.dispose();
});

async function rowsOf(loaded: Awaited<ReturnType<typeof loadModel>>): Promise<ScoredRows[]> {
  const marks = markIds([1, 2, 40, 41, 319], 320);
  const scorer = rowScorer(device, loaded, { topK: 10, marks });
  const rows = await scorer.score(sequences);
  scorer.dispose();
  return rows;
}

function largestDifference(got: readonly ScoredRows[]): number {
  let worst = 0;
  const compare = (a: Float32Array, b: Float32Array) => {
    expect(a.length).toBe(b.length);
    a.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - b[i]!));
    });
  };
  got.forEach((rows, index) => {
    const want = wanted[index]!;
    expect(rows.topIds.length).toBe(want.topIds.length);
    compare(rows.topLogProbs, want.topLogProbs);
    compare(rows.labelLogProb, want.labelLogProb);
    compare(rows.boundaryMass, want.boundaryMass);
  });
  return worst;
}

test('our own rows are the recorded ones', async () => {
  const { ids, label_log_probs: recorded } = JSON.parse(readFileSync(join(folder, 'recorded.json'), 'utf8'));
  const loaded = await loadModel(device, own);
  const scorer = rowScorer(device, loaded, { topK: 1 });
  const [rows] = await scorer.score([ids]);
  for (const [i, value] of recorded.entries()) expect(rows!.labelLogProb[i]).toBeCloseTo(value, 4);
  scorer.dispose();
  loaded.dispose();
});

describe('a folder with ONNX', () => {
  test('is frozen where there are no safetensors, or where the file is named', async () => {
    expect(own.onnx).toBeUndefined();
    const model = await openFolder('m', 'tiny', withoutTensors);
    expect(model.onnx?.file).toBe('tiny/onnx/model.onnx');
    expect(model.config).toMatchObject({ vocabSize: 320, maxPositions: 256 });
    expect(model.identity).not.toBe(own.identity);
    const half = await openFolder('m', 'tiny', open, 'onnx/model_fp16.onnx');
    expect(half.onnx?.decoder.halves).toBe(true);
  });

  const here = ONNX_PLACES.filter((place) => place === 'wasm' || !ON_WASM);
  test.each(here)('gives the same rows, %s', async (place) => {
    const model = await openFolder('m', 'tiny', withoutTensors);
    const loaded = await loadOnnx(device, model.onnx!, model.config, [place]);
    expect(largestDifference(await rowsOf(loaded))).toBeLessThan(1e-3);
    expect(loaded.frozen?.status).toMatch(/onnxruntime-web runs tiny\/onnx\/model\.onnx on /);
    loaded.dispose();
    device.check();
  });

  test('runs on the CPU where there is no device to share', async () => {
    const model = await openFolder('m', 'tiny', withoutTensors);
    const unshared = new Proxy({} as Device, {
      get(_, key) {
        const value: unknown = Reflect.get(device, key);
        return typeof value === 'function' ? value.bind(device) : value;
      },
    });
    const loaded = await loadOnnx(unshared, model.onnx!, model.config, ['shared', 'own', 'wasm']);
    expect(loaded.frozen?.status).toBe('onnxruntime-web runs tiny/onnx/model.onnx on the CPU (WebAssembly)');
    expect(largestDifference(await rowsOf(loaded))).toBeLessThan(1e-3);
    loaded.dispose();
  });

  test.skipIf(ON_WASM)('goes to the next place where one does not work, and says so', async () => {
    const model = await openFolder('m', 'tiny', withoutTensors);
    const { gpu } = device as WebGpuDevice;
    const pop = gpu.popErrorScope.bind(gpu);
    gpu.popErrorScope = async () => {
      await pop();
      return { message: 'not today' } as never;
    };
    const loaded = await loadOnnx(device, model.onnx!, model.config, ['shared', 'wasm']).finally(() => {
      gpu.popErrorScope = pop;
    });
    expect(loaded.frozen?.status).toBe(
      "onnxruntime-web runs tiny/onnx/model.onnx on the CPU (WebAssembly); not on the engine's GPU device: not today",
    );
    expect(largestDifference(await rowsOf(loaded))).toBeLessThan(1e-3);
    loaded.dispose();
  });

  test('half floats give nearly the same rows', async () => {
    const model = await openFolder('m', 'tiny', open, 'onnx/model_fp16.onnx');
    const loaded = await loadOnnx(device, model.onnx!, model.config, ['wasm']);
    expect(largestDifference(await rowsOf(loaded))).toBeLessThan(0.05);
    loaded.dispose();
  });

  test('nobody gets weights of it', async () => {
    const model = await openFolder('m', 'tiny', withoutTensors);
    const loaded = await loadModel(device, model);
    expect(() => loaded.weights).toThrow(/tiny\/onnx\/model\.onnx: an ONNX model is a frozen source only/);
    await expect(model.tensors.matrix('x')).rejects.toThrow(/frozen source only/);
    expect(loaded.frozen?.status).toMatch(
      ON_WASM ? /on the CPU \(WebAssembly\)$/ : /on the engine's GPU device$/,
    );
    loaded.dispose();
  });
});
