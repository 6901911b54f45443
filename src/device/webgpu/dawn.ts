import { AlloyError } from '../../util/errors.ts';
import type { Device } from '../device.ts';
import { type AdapterFound, lookForAdapter, NO_ADAPTER } from './adapter.ts';
import { WebGpuDevice } from './webGpuDevice.ts';

/** Dawn's instance must outlive its devices: collected early, it takes the process down. */
let instance: GPU | undefined;

/** WebGPU without a browser: Dawn for Node (npm `webgpu`), with its globals put where a browser has them. */
export async function openDawn(): Promise<GPU> {
  const module = await import('webgpu').catch((cause) => {
    throw new AlloyError('no-webgpu', 'The npm package "webgpu" is not installed; run npm install.', {
      cause,
    });
  });
  Object.assign(globalThis, module.globals);
  instance ??= module.create([]) as unknown as GPU;
  return instance;
}

/** What Dawn finds, without opening it; or why nothing, as half a sentence. */
export async function lookForDawn(): Promise<AdapterFound | string> {
  let dawn: GPU;
  try {
    dawn = await openDawn();
  } catch (error) {
    return error instanceof AlloyError
      ? 'the npm package "webgpu" is not installed'
      : `Dawn does not start (${error instanceof Error ? error.message : String(error)})`;
  }
  const found = await lookForAdapter(dawn);
  return found === NO_ADAPTER ? 'Dawn found no graphics adapter' : found;
}

/** Opens the adapter that Dawn finds. @throws AlloyError `no-webgpu` */
export async function openDawnDevice(): Promise<Device> {
  const dawn = await openDawn();
  if (!(await dawn.requestAdapter())) {
    throw new AlloyError(
      'no-webgpu',
      "Dawn found no graphics adapter; install a Vulkan driver (without a GPU, Mesa's lavapipe: the Debian package mesa-vulkan-drivers).",
    );
  }
  return WebGpuDevice.open(dawn);
}

let patched = false;

/**
 * The same for a runtime that brings kernels of its own and a heap of shared memory (onnxruntime-web): Dawn for Node refuses
 * views of such memory, so its queues copy them first.
 */
export async function openDawnForRuntimes(): Promise<GPU> {
  const dawn = await openDawn();
  if (patched) return dawn;
  patched = true;
  const queues = GPUQueue.prototype;
  const write = queues.writeBuffer;
  queues.writeBuffer = function (this: GPUQueue, buffer, offset, data, start = 0, size?: number) {
    const view = data as unknown as ArrayBufferView & { readonly BYTES_PER_ELEMENT?: number };
    const memory = ArrayBuffer.isView(view) ? view.buffer : data;
    if (!(memory instanceof SharedArrayBuffer)) {
      write.call(this, buffer, offset, data as BufferSource, start, size);
      return;
    }
    const unit = view.BYTES_PER_ELEMENT ?? 1;
    const from = (view.byteOffset ?? 0) + start * unit;
    const bytes = size === undefined ? view.byteLength - start * unit : size * unit;
    write.call(this, buffer, offset, new Uint8Array(memory, from, bytes).slice());
  };
  return dawn;
}
