/**
 * A device on paper: the same constructors that fill a real device run on it, and what they would take can be read off
 * its ledger. Nothing is allocated, compiled or computed; what is read back is zero.
 */
import { BaseDevice } from './baseDevice.ts';
import { boundBuffers } from './binding.ts';
import {
  allowedSize,
  type Device,
  type DeviceInfo,
  type DeviceLimits,
  type DeviceStats,
  newStats,
  PARAMS_BYTES,
  type Program,
  type Readback,
  STAGING_BYTES,
} from './device.ts';
import { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch } from './kernel.ts';
import { type MemoryKind, MemoryLedger } from './memoryLedger.ts';

/** What most adapters allow. */
const COMMON_LIMITS: DeviceLimits = {
  bufferBytes: 2 ** 31,
  bindingBytes: 2 ** 31 - 4,
  workgroupBytes: 32_768,
  workgroupThreads: 1024,
  storageBuffers: 8,
  totalBytes: Number.POSITIVE_INFINITY,
  pieceBytes: Number.POSITIVE_INFINITY,
};

export class PaperDevice extends BaseDevice implements Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly memory: MemoryLedger;
  readonly stats: DeviceStats;
  readonly name = 'paper';
  readonly lost = new Promise<string>(() => undefined);
  readonly #kinds = new Map<object, MemoryKind>();
  /** The largest single binding asked for, and the most that the parameters of a program take. */
  largestBindingBytes = 0;
  largestProgramBytes = 0;

  /** @param like the adapter that it stands for */
  constructor(
    like: {
      readonly info?: Partial<DeviceInfo> | undefined;
      readonly limits?: Partial<DeviceLimits> | undefined;
    } = {},
  ) {
    super();
    this.info = {
      vendor: '',
      architecture: '',
      model: '',
      description: 'paper',
      tuning: 'gpu',
      features: new Set(),
      ...like.info,
    };
    this.limits = { ...COMMON_LIMITS, ...like.limits };
    this.memory = new MemoryLedger(this.limits.totalBytes);
    this.stats = newStats(this.memory);
  }

  createBuffer(bytes: number, label: string, kind: MemoryKind = 'scratch'): DeviceBuffer {
    const size = allowedSize(bytes, label, this.limits);
    this.memory.add(kind, size, label);
    this.stats.buffersMade++;
    const memory = { size };
    this.#kinds.set(memory, kind);
    return this.made(new DeviceBuffer(memory, 0, size, label));
  }

  destroyBuffer({ memory }: DeviceBuffer): void {
    const kind = this.#kinds.get(memory);
    if (kind === undefined) return;
    this.#kinds.delete(memory);
    this.memory.remove(kind, memory.size);
  }

  createFrom(data: ArrayBufferView<ArrayBuffer>, label: string, kind?: MemoryKind): DeviceBuffer {
    return this.createBuffer(data.byteLength, label, kind);
  }

  async settled(): Promise<void> {}

  upload(): void {}

  async download(buffer: DeviceBuffer, offset = 0, bytes = buffer.bytes - offset): Promise<ArrayBuffer> {
    const staging = this.#stage(1, Math.min(bytes, STAGING_BYTES), 'staging');
    await Promise.resolve();
    for (const one of staging) this.destroyBuffer(one);
    return new ArrayBuffer(bytes);
  }

  readback(source: DeviceBuffer, depth = 2): Readback {
    const bytes = Math.ceil(source.bytes / 4) * 4;
    const staging = this.#stage(depth, bytes, 'readback');
    return {
      ready: true,
      read: async () => new ArrayBuffer(bytes),
      dispose: () => {
        for (const buffer of staging) this.destroyBuffer(buffer);
      },
    };
  }

  /** Buffers that a range is copied to before the host reads it: none where it reads the device's own memory. */
  #stage(count: number, bytes: number, label: string): DeviceBuffer[] {
    const buffers = this.info.tuning === 'wasm' ? 0 : count;
    return Array.from({ length: buffers }, () => this.createBuffer(bytes, label, 'staging'));
  }

  async compile(): Promise<void> {}

  record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program {
    for (const one of dispatches) {
      for (const { buffer } of boundBuffers(one, this.limits)) {
        this.largestBindingBytes = Math.max(this.largestBindingBytes, buffer.bytes);
      }
    }
    const params = this.createBuffer(Math.max(1, dispatches.length) * PARAMS_BYTES, `${label}.params`);
    this.largestProgramBytes = Math.max(this.largestProgramBytes, params.bytes);
    return {
      label,
      dispatches: dispatches.length,
      submit: () => undefined,
      run: async () => undefined,
      profile: async () => [],
      dispose: () => this.destroyBuffer(params),
    };
  }

  async throttle(): Promise<void> {}

  async idle(): Promise<void> {}

  check(): void {}

  dispose(): void {}
}
