/** A range of GPU memory. Slices share the memory of the buffer they were cut from; only the owner is destroyed. */
export class DeviceBuffer {
  readonly raw: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  readonly label: string;

  constructor(raw: GPUBuffer, offset: number, bytes: number, label: string) {
    this.raw = raw;
    this.offset = offset;
    this.bytes = bytes;
    this.label = label;
  }

  /** A part of this buffer; `offset` must be a multiple of the device's storage alignment (256 is always right). */
  slice(offset: number, bytes: number, label = this.label): DeviceBuffer {
    return new DeviceBuffer(this.raw, this.offset + offset, bytes, label);
  }
}
