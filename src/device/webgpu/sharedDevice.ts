/**
 * Another runtime on our device: it gets the device itself, its buffers become ours to read, and what goes wrong inside it
 * is told to whoever asked for it instead of counting as a failure of our own programs.
 */
import { AlloyError } from '../../util/errors.ts';
import type { Device } from '../device.ts';
import { DeviceBuffer } from '../deviceBuffer.ts';
import { WebGpuDevice } from './webGpuDevice.ts';

/** The device behind a `Device`, for a runtime that brings kernels of its own; undefined for one that only plans. */
export function sharedDevice(device: Device): GPUDevice | undefined {
  return device instanceof WebGpuDevice ? device.gpu : undefined;
}

/** A buffer that the other runtime owns, for our kernels to read. */
export function borrowedBuffer(buffer: unknown, bytes: number, label: string): DeviceBuffer {
  const memory = buffer as GPUBuffer;
  if (memory.size >= bytes) return new DeviceBuffer(memory, 0, bytes, label);
  throw new AlloyError('internal', `${label}: the buffer has ${memory.size} bytes, not ${bytes}`);
}

/** Runs a job of the other runtime. @throws what the device reports about it, or what the job throws */
export async function onSharedDevice<T>(gpu: GPUDevice, job: () => Promise<T>): Promise<T> {
  gpu.pushErrorScope('out-of-memory');
  gpu.pushErrorScope('validation');
  let result: T;
  const problems = async () => [await gpu.popErrorScope(), await gpu.popErrorScope()];
  try {
    result = await job();
  } catch (error) {
    await problems();
    throw error;
  }
  const problem = (await problems()).find((one) => one !== null);
  if (problem) throw new Error(problem.message);
  return result;
}
