import type { Program } from './device.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch } from './kernel.ts';

/** What devices do alike, on top of what each does in its own way. */
export abstract class BaseDevice {
  /** Buffers made since `allOrNothing` began. */
  #making: DeviceBuffer[] | undefined;

  abstract destroyBuffer(buffer: DeviceBuffer): void;
  abstract download(buffer: DeviceBuffer, offset?: number, bytes?: number): Promise<ArrayBuffer>;
  abstract record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program;

  allOrNothing<T>(make: () => T): T {
    const outer = this.#making;
    const mine: DeviceBuffer[] = [];
    this.#making = mine;
    try {
      const made = make();
      outer?.push(...mine);
      return made;
    } catch (error) {
      for (const buffer of mine) this.destroyBuffer(buffer);
      throw error;
    } finally {
      this.#making = outer;
    }
  }

  async downloadF32(
    buffer: DeviceBuffer,
    elements = buffer.bytes / 4,
    offsetBytes = 0,
  ): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.download(buffer, offsetBytes, elements * 4));
  }

  async downloadU32(
    buffer: DeviceBuffer,
    elements = buffer.bytes / 4,
    offsetBytes = 0,
  ): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.download(buffer, offsetBytes, elements * 4));
  }

  run(dispatches: readonly Dispatch<DeviceBuffer>[], label = 'once'): void {
    const program = this.record(dispatches, label);
    program.submit();
    program.dispose();
  }

  /** To be told of every buffer that `createBuffer` makes. @returns the buffer */
  protected made(buffer: DeviceBuffer): DeviceBuffer {
    this.#making?.push(buffer);
    return buffer;
  }
}
