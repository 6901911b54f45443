import { AlloyError } from '../util/errors.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Gpu } from './gpu.ts';

/**
 * Reads one range of a buffer again and again through staging buffers made once, so that reading losses or tokens
 * in a loop creates nothing.
 */
export class Readback {
  #gpu: Gpu;
  #source: DeviceBuffer;
  #bytes: number;
  #free: GPUBuffer[];
  #all: readonly GPUBuffer[];

  constructor(gpu: Gpu, source: DeviceBuffer, depth = 2) {
    this.#gpu = gpu;
    this.#source = source;
    this.#bytes = Math.ceil(source.bytes / 4) * 4;
    this.#all = Array.from({ length: depth }, () =>
      gpu.makeBuffer({
        label: `${source.label}.readback`,
        size: this.#bytes,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }),
    );
    this.#free = [...this.#all];
  }

  /** True while another `read` may start. */
  get ready(): boolean {
    return this.#free.length > 0;
  }

  /** The range as it is after all that was submitted before this call. */
  async read(): Promise<ArrayBuffer> {
    const staging = this.#free.pop();
    if (!staging) throw new AlloyError('internal', `${this.#source.label}: too many reads at once`);
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#source.raw, this.#source.offset, staging, 0, this.#bytes);
    this.#gpu.submit(encoder.finish());
    this.#gpu.stats.readbacks++;
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (cause) {
      this.#gpu.check();
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
    for (const staging of this.#all) staging.destroy();
  }
}
