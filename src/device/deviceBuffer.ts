/** What a device keeps behind a buffer; only the device that made it can look inside. */
export interface DeviceMemory {
  /** Bytes. */
  readonly size: number;
}

/** A range of GPU memory. Slices share the memory of the buffer they were cut from; only the owner is destroyed. */
export class DeviceBuffer {
  readonly memory: DeviceMemory;
  readonly offset: number;
  readonly bytes: number;
  readonly label: string;

  constructor(memory: DeviceMemory, offset: number, bytes: number, label: string) {
    this.memory = memory;
    this.offset = offset;
    this.bytes = bytes;
    this.label = label;
  }

  /** A part of this buffer; `offset` must be a multiple of the device's storage alignment (256 is always right). */
  slice(offset: number, bytes: number, label = this.label): DeviceBuffer {
    return new DeviceBuffer(this.memory, this.offset + offset, bytes, label);
  }
}
