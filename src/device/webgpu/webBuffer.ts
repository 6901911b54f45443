import type { DeviceBuffer } from '../deviceBuffer.ts';

/** What a device of WebGPU keeps behind one of its buffers. */
export function gpuBufferOf(buffer: DeviceBuffer): GPUBuffer {
  return buffer.memory as GPUBuffer;
}
