import { AlloyError } from '../../util/errors.ts';
import type { Program, Readback } from '../device.ts';
import type { DeviceBuffer } from '../deviceBuffer.ts';
import { gpuBufferOf } from './webBuffer.ts';
import type { WebGpuDevice } from './webGpuDevice.ts';
import { WebProgram } from './webProgram.ts';

/** Reads through staging buffers made once. */
export class WebReadback implements Readback {
  #device: WebGpuDevice;
  #source: DeviceBuffer;
  #bytes: number;
  #free: GPUBuffer[];
  #all: readonly GPUBuffer[];

  constructor(device: WebGpuDevice, source: DeviceBuffer, depth = 2) {
    this.#device = device;
    this.#source = source;
    this.#bytes = Math.ceil(source.bytes / 4) * 4;
    this.#all = Array.from({ length: depth }, () =>
      device.makeBuffer(
        {
          label: `${source.label}.readback`,
          size: this.#bytes,
          usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        },
        'staging',
      ),
    );
    this.#free = [...this.#all];
  }

  get ready(): boolean {
    return this.#free.length > 0;
  }

  async read(program?: Program): Promise<ArrayBuffer> {
    const staging = this.#free.pop();
    if (!staging) throw new AlloyError('internal', `${this.#source.label}: too many reads at once`);
    const copyTo = (encoder: GPUCommandEncoder) => {
      encoder.copyBufferToBuffer(gpuBufferOf(this.#source), this.#source.offset, staging, 0, this.#bytes);
    };
    if (program instanceof WebProgram) program.submit(copyTo);
    else {
      program?.submit();
      const encoder = this.#device.gpu.createCommandEncoder();
      copyTo(encoder);
      this.#device.submit(encoder.finish());
    }
    this.#device.stats.readbacks++;
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (cause) {
      this.#device.check();
      throw new AlloyError('device-lost', `Reading "${this.#source.label}" back from the GPU failed.`, {
        cause,
      });
    }
    const copy = staging.getMappedRange().slice(0);
    staging.unmap();
    this.#free.push(staging);
    return copy;
  }

  dispose(): void {
    for (const staging of this.#all) this.#device.freeBuffer(staging);
  }
}
