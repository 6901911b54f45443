import type { Device, Tuning } from './device.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch } from './kernel.ts';
import { nodeWasmHost } from './wasm/nodeWasmHost.ts';
import { WasmDevice, type WasmOptions } from './wasm/wasmDevice.ts';
import { openDawn } from './webgpu/dawn.ts';
import { type OpenOptions, WebGpuDevice } from './webgpu/webGpuDevice.ts';

/** Which device the tests run on: they run once for each (see `vite.config.ts`). */
export const ON_WASM = process.env.ALLOY_TEST_DEVICE === 'wasm';

/** What kernels may be chosen for on the device of the tests. */
export const TEST_TUNINGS: readonly Tuning[] = ON_WASM ? ['wasm'] : ['software', 'gpu'];

/** For a test that needs no more than one of them: tiles as GPUs have them, where there are any. */
export const TEST_TUNING: Tuning = ON_WASM ? 'wasm' : 'gpu';

let shared: Promise<Device> | undefined;

/** One device for all tests of a worker process. */
export function testDevice(): Promise<Device> {
  shared ??= openTestDevice();
  return shared;
}

/** A device of its own, of the kind that the tests run on. */
export async function openTestDevice(options: WasmOptions & OpenOptions = {}): Promise<Device> {
  return ON_WASM ? WasmDevice.open(nodeWasmHost(), options) : WebGpuDevice.open(await openDawn(), options);
}

/** A device that a test can take away in the middle of its work: the GPU is destroyed, or one of the threads ends. */
export async function openFragileDevice(): Promise<{ readonly device: Device; lose(): void }> {
  if (!ON_WASM) {
    const device = await ownTestDevice();
    return { device, lose: () => device.gpu.destroy() };
  }
  const host = nodeWasmHost();
  let lose: () => void = () => undefined;
  const device = await WasmDevice.open({
    ...host,
    spawn(start, events) {
      lose = () => events.failed('it stopped with code 1');
      return host.spawn(start, events);
    },
  });
  return { device, lose: () => lose() };
}

/** A device of WebGPU, for a test that takes it away or changes it. */
export async function ownTestDevice(): Promise<WebGpuDevice> {
  return WebGpuDevice.open(await openDawn());
}

export type TestArray = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/**
 * Uploads named arrays, runs the dispatches that `build` makes of them and reads all of them back, so that a kernel
 * test is one call.
 */
export async function runOnDevice<N extends string>(
  arrays: Readonly<Record<N, TestArray>>,
  build: (buffers: Readonly<Record<N, DeviceBuffer>>) => readonly Dispatch<DeviceBuffer>[],
): Promise<Record<N, Float32Array<ArrayBuffer>> & { bits(name: N): Uint32Array<ArrayBuffer> }> {
  const device = await testDevice();
  const names = Object.keys(arrays) as N[];
  const buffers = Object.fromEntries(
    names.map((name) => [name, device.createFrom(arrays[name], name)]),
  ) as Record<N, DeviceBuffer>;
  device.run(build(buffers));
  const raw = new Map<N, ArrayBuffer>();
  for (const name of names) raw.set(name, await device.download(buffers[name], 0, arrays[name].byteLength));
  for (const name of names) device.destroyBuffer(buffers[name]);
  const floats = Object.fromEntries(
    names.map((name) => [name, new Float32Array(raw.get(name) as ArrayBuffer)]),
  ) as Record<N, Float32Array<ArrayBuffer>>;
  return Object.assign(floats, { bits: (name: N) => new Uint32Array(raw.get(name) as ArrayBuffer) });
}

/** Deterministic values of about unit size, the same on every machine. */
export function testValues(count: number, seed = 1, scale = 1): Float32Array<ArrayBuffer> {
  let state = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    const bits = Math.imul(state ^ (state >>> 13), 3266489917) >>> 0;
    return ((bits >>> 8) / 8388608 - 1) * scale;
  });
}

/**
 * A device whose storage may take so many bytes in all. What is beyond is refused as a real device refuses it: later, in
 * the error scope, and with a buffer that is not valid.
 */
export function withRoom(device: WebGpuDevice, room: { bytes: number }): void {
  const { gpu } = device;
  const [create, pop] = [gpu.createBuffer.bind(gpu), gpu.popErrorScope.bind(gpu)];
  let refused = false;
  gpu.createBuffer = (descriptor) => {
    const isStorage = (descriptor.usage & GPUBufferUsage.STORAGE) !== 0;
    if (!isStorage || device.stats.bytes <= room.bytes) return create(descriptor);
    refused = true;
    gpu.pushErrorScope('validation');
    const broken = create({ ...descriptor, usage: 0 });
    pop();
    return broken;
  };
  gpu.popErrorScope = async () => {
    const mine = refused;
    refused = false;
    const error = await pop();
    return mine ? new GPUOutOfMemoryError('no room') : error;
  };
}
