/** What `onnx.spec.ts` runs in the page: rows of one model through our decoder and through onnxruntime-web. */
import onnxWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import type { Device } from '../src/device/device.ts';
import { WasmDevice } from '../src/device/wasm/wasmDevice.ts';
import { webWasmHost } from '../src/device/wasm/webWasmHost.ts';
import { WebGpuDevice } from '../src/device/webgpu/webGpuDevice.ts';
import { loadOnnx } from '../src/models/onnxModel.ts';
import type { OnnxPlace } from '../src/models/onnxRuntime.ts';
import { rowScorer } from '../src/models/rowScorer.ts';
import type { ScoredRows } from '../src/models/scorer.ts';
import type { DeviceKind } from '../src/pipeline/deviceChoice.ts';
import { loadModel, openFolder } from '../src/pipeline/openModel.ts';
import type { FileSource } from '../src/util/fileSource.ts';
import { provideOnnxHost } from '../src/util/onnxHost.ts';

const TOKENS = Array.from({ length: 45 }, (_, i) => (i * 37 + 11) % 320);

export interface OnnxComparison {
  readonly status: string;
  readonly largestDifference: number;
}

async function fetched(name: string): Promise<FileSource | null> {
  const response = await fetch(`/onnx-fixture/${name}`);
  if (!response.ok || response.headers.get('content-type')?.startsWith('text/html')) return null;
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { name, bytes: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}

function difference(a: ScoredRows, b: ScoredRows): number {
  const largest = (x: Float32Array, y: Float32Array) =>
    x.reduce((most, value, i) => Math.max(most, Math.abs(value - (y[i] ?? Number.NaN))), 0);
  return Math.max(
    largest(a.topLogProbs, b.topLogProbs),
    largest(a.labelLogProb, b.labelLogProb),
    largest(a.boundaryMass, b.boundaryMass),
  );
}

async function compare(kind: DeviceKind, places: readonly OnnxPlace[]): Promise<OnnxComparison> {
  provideOnnxHost({ wasm: async () => new URL(onnxWasm, location.href).href });
  const device: Device = kind === 'wasm' ? await WasmDevice.open(webWasmHost()) : await WebGpuDevice.open();
  const own = await openFolder('own', 'tiny', fetched);
  const frozen = await openFolder('frozen', 'tiny', fetched, 'onnx/model.onnx');
  const rows = async (loaded: Awaited<ReturnType<typeof loadModel>>): Promise<ScoredRows> => {
    const scorer = rowScorer(device, loaded, {
      topK: 10,
      marks: Uint32Array.of(6, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    });
    const [one] = await scorer.score([TOKENS]);
    scorer.dispose();
    if (!one) throw new Error('no rows');
    return one;
  };
  const wanted = await rows(await loadModel(device, own));
  if (!frozen.onnx) throw new Error('the folder was not opened as ONNX');
  const loaded = await loadOnnx(device, frozen.onnx, frozen.config, places);
  const got = await rows(loaded);
  device.check();
  return { status: loaded.frozen?.status ?? '', largestDifference: difference(got, wanted) };
}

Object.assign(globalThis, { compareOnnx: compare });
