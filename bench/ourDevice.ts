import type { Device } from '../src/device/device.ts';
import { nodeWasmHost } from '../src/device/wasm/nodeWasmHost.ts';
import { WasmDevice } from '../src/device/wasm/wasmDevice.ts';
import { WebGpuDevice } from '../src/device/webgpu/webGpuDevice.ts';
import type { Target } from './target.ts';

/** Beside the bundled bench; the build puts them there. */
const KERNELS = new URL('../kernels/', import.meta.url);

/** What our engine runs on in Node; WebGPU is looked for where a browser has it. */
export function openDevice({ device, threads }: Target): Promise<Device> {
  return device === 'webgpu'
    ? WebGpuDevice.open()
    : WasmDevice.open(nodeWasmHost(threads, { folder: KERNELS }));
}
