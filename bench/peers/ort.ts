/**
 * onnxruntime-web on its WebGPU execution provider. Inputs and outputs stay on the GPU, on a device of ours, so that a run
 * is the product alone.
 */
import { readFile } from 'node:fs/promises';
import * as ort from 'onnxruntime-web/webgpu';
import type { BenchEngine, MatmulCase, MatmulRunner } from '../engine.ts';
import { matmulInput } from '../matmulCase.ts';
import { matmulModel } from '../onnxModel.ts';
import { openOrtDecode } from './ortDecode.ts';

/** Put beside the bundled program by whoever bundles it. */
export const ORT_WASM = 'ort-wasm-simd-threaded.asyncify.wasm';

/** Dawn for Node refuses views of shared memory, which is what the runtime's heap is. */
function acceptSharedMemory(queue: GPUQueue): void {
  const write = queue.writeBuffer.bind(queue);
  queue.writeBuffer = (buffer, offset, data, start = 0, size?: number) => {
    const view = data as unknown as ArrayBufferView & { readonly BYTES_PER_ELEMENT?: number };
    const memory = ArrayBuffer.isView(view) ? view.buffer : data;
    if (!(memory instanceof SharedArrayBuffer)) {
      write(buffer, offset, data, start, size);
      return;
    }
    const unit = view.BYTES_PER_ELEMENT ?? 1;
    const from = (view.byteOffset ?? 0) + start * unit;
    const bytes = size === undefined ? view.byteLength - start * unit : size * unit;
    write(buffer, offset, new Uint8Array(memory, from, bytes).slice());
  };
}

async function openDevice(): Promise<GPUDevice> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('onnxruntime-web found no WebGPU');
  const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize } = adapter.limits;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX, maxComputeWorkgroupSizeY } =
    adapter.limits;
  const { maxStorageBuffersPerShaderStage } = adapter.limits;
  const wanted = ['shader-f16', 'subgroups'] as const;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxBufferSize,
      maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX,
      maxComputeWorkgroupSizeY,
      maxStorageBuffersPerShaderStage,
    },
  });
  acceptSharedMemory(device.queue);
  return device;
}

async function openMatmul(device: GPUDevice, matmulCase: MatmulCase): Promise<MatmulRunner> {
  const session = await ort.InferenceSession.create(matmulModel(matmulCase), {
    executionProviders: [{ name: 'webgpu', device }],
    preferredOutputLocation: 'gpu-buffer',
  });
  const values = matmulInput(matmulCase);
  const gpuBuffer = device.createBuffer({
    size: values.byteLength,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(gpuBuffer, 0, values);
  const x = ort.Tensor.fromGpuBuffer(gpuBuffer, {
    dataType: 'float32',
    dims: [matmulCase.rows, matmulCase.inputs],
  });
  const product = async () => {
    const { y } = await session.run({ x });
    if (!y) throw new Error('the model has no output y');
    return y;
  };
  return {
    async run(count) {
      for (let index = 0; index < count; index++) (await product()).dispose();
      await device.queue.onSubmittedWorkDone();
    },
    async firstRow() {
      const y = await product();
      const data = (await y.getData()) as Float32Array;
      y.dispose();
      return Float32Array.from(data.slice(0, matmulCase.outputs));
    },
  };
}

export async function openOrt(): Promise<BenchEngine> {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await readFile(new URL(ORT_WASM, import.meta.url));
  const device = await openDevice();
  return {
    name: 'onnxruntime-web',
    version: ort.env.versions.web ?? '',
    openMatmul: (matmulCase) => openMatmul(device, matmulCase),
    openDecode: (decodeCase) =>
      openOrtDecode(ort, { executionProviders: [{ name: 'webgpu', device }] }, 'gpu-buffer', decodeCase),
  };
}
