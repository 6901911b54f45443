import { formatBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';
import { BaseDevice } from '../baseDevice.ts';
import {
  adapterName,
  allowedSize,
  bufferSize,
  type Device,
  type DeviceInfo,
  type DeviceLimits,
  type DeviceStats,
  isOnProcessor,
  newStats,
  type Program,
  type Readback,
  STAGING_BYTES,
} from '../device.ts';
import { DeviceBuffer } from '../deviceBuffer.ts';
import type { Dispatch, Kernel } from '../kernel.ts';
import { type MemoryKind, MemoryLedger } from '../memoryLedger.ts';
import { isSoftware } from './adapter.ts';
import { DeviceStopwatch, HostStopwatch, type Stopwatch } from './stopwatch.ts';
import { type CutOptions, SubmitClock } from './submitClock.ts';
import { gpuBufferOf } from './webBuffer.ts';
import { WebPipelines } from './webPipelines.ts';
import { WebProgram } from './webProgram.ts';
import { WebReadback } from './webReadback.ts';

const WANTED_FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'] as const;

/** Raised to what the adapter has; everything else stays at WebGPU's defaults, which kernels may rely on. */
const RAISED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxStorageBuffersPerShaderStage',
] as const;

/** For so long after a buffer was refused, errors of what was done with it may still arrive. */
const REFUSAL_MS = 2000;

/** How a device may be opened other than as the adapter says; for tests, and for what a person allows. */
export interface OpenOptions {
  /** What the adapter is taken for, so that a test can run the kernels of GPUs on a software adapter. */
  readonly software?: boolean;
  /** Workgroups in one submit at most, whatever they take; unless told, submits are cut by time. */
  readonly submitGroups?: number;
  /** Lower limits than those of the adapter. */
  readonly limits?: Partial<Pick<DeviceLimits, 'bufferBytes' | 'bindingBytes' | 'pieceBytes' | 'totalBytes'>>;
}

/** A device of WebGPU: in a browser, or Dawn's in Node. */
export class WebGpuDevice extends BaseDevice implements Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly memory: MemoryLedger;
  readonly stats: DeviceStats;
  readonly gpu: GPUDevice;
  readonly lost: Promise<string>;
  readonly pipelines: WebPipelines;
  readonly clock: SubmitClock;
  readonly cut: CutOptions;
  #failure: AlloyError | undefined;
  readonly #inFlight: Promise<void>[] = [];
  readonly #owned = new Map<GPUBuffer, MemoryKind>();
  readonly #asked = new Set<Promise<void>>();
  /** Buffers that the device had no room for. */
  readonly #refused = new Map<GPUBuffer, string>();
  #refusedAt = Number.NEGATIVE_INFINITY;

  private constructor(gpu: GPUDevice, info: DeviceInfo, options: OpenOptions) {
    super();
    this.gpu = gpu;
    this.info = info;
    this.cut = { software: isOnProcessor(info), groups: options.submitGroups };
    this.limits = {
      bufferBytes: gpu.limits.maxBufferSize,
      bindingBytes: gpu.limits.maxStorageBufferBindingSize,
      workgroupBytes: gpu.limits.maxComputeWorkgroupStorageSize,
      workgroupThreads: gpu.limits.maxComputeInvocationsPerWorkgroup,
      storageBuffers: gpu.limits.maxStorageBuffersPerShaderStage,
      totalBytes: Number.POSITIVE_INFINITY,
      pieceBytes: Number.POSITIVE_INFINITY,
      ...options.limits,
    };
    this.memory = new MemoryLedger(this.limits.totalBytes);
    this.stats = newStats(this.memory);
    this.clock = new SubmitClock((ms) => {
      this.stats.longestSubmitMs = Math.max(this.stats.longestSubmitMs, ms);
    });
    this.pipelines = new WebPipelines(gpu, info.features, () => {
      this.stats.pipelines++;
    });
    this.lost = gpu.lost.then((reason) => {
      this.#failure ??= new AlloyError(
        'device-lost',
        `The GPU was lost (${reason.message || reason.reason}); reopen the device and resume from the last checkpoint.`,
      );
      return reason.message || reason.reason;
    });
    gpu.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      // It is told by `check` or `settled`.
      event.preventDefault();
      if (error instanceof GPUValidationError) this.#judgeInvalid(error.message);
      else this.#fail(error instanceof GPUOutOfMemoryError ? 'out-of-memory' : 'internal', error.message);
    });
  }

  /**
   * Opens the adapter that `navigator.gpu` offers (the first argument replaces it in Node).
   * @throws AlloyError `no-webgpu` with what is missing and what to do.
   */
  static async open(
    gpu: GPU | undefined = globalThis.navigator?.gpu,
    options: OpenOptions = {},
  ): Promise<WebGpuDevice> {
    if (!gpu) {
      throw new AlloyError(
        'no-webgpu',
        'This browser has no WebGPU (navigator.gpu is missing); use a current Chrome, Edge, Safari 26 or Firefox on a secure page.',
      );
    }
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) {
      throw new AlloyError(
        'no-webgpu',
        'WebGPU found no adapter; update the graphics driver or switch on hardware acceleration in the browser.',
      );
    }
    const features = WANTED_FEATURES.filter((feature) => adapter.features.has(feature));
    const requiredLimits = Object.fromEntries(RAISED_LIMITS.map((name) => [name, adapter.limits[name]]));
    const opened = await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
    const { vendor, architecture, device: model, description } = adapter.info;
    const software = options.software ?? isSoftware(adapter.info);
    return new WebGpuDevice(
      opened,
      {
        vendor,
        architecture,
        model,
        description,
        tuning: software ? 'software' : 'gpu',
        features: new Set(features),
      },
      options,
    );
  }

  get name(): string {
    return adapterName(this.info);
  }

  createBuffer(bytes: number, label: string, kind: MemoryKind = 'scratch'): DeviceBuffer {
    const size = allowedSize(bytes, label, this.limits);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const raw = this.makeBuffer({ label, size, usage }, kind);
    return this.made(new DeviceBuffer(raw, 0, size, label));
  }

  /** What is done with a buffer that the device had no room for is not valid either; `settled` tells the reason. */
  async #judgeInvalid(message: string): Promise<void> {
    while (this.#asked.size > 0) await Promise.all(this.#asked);
    if (performance.now() - this.#refusedAt > REFUSAL_MS) this.#fail('internal', message);
  }

  #fail(code: 'internal' | 'out-of-memory', message: string): void {
    this.#failure ??= new AlloyError(code, `The GPU reported an error: ${message}`);
  }

  /** A buffer of any usage, counted like all others. */
  makeBuffer(descriptor: GPUBufferDescriptor, kind: MemoryKind): GPUBuffer {
    const label = descriptor.label ?? '';
    this.memory.add(kind, descriptor.size, label);
    this.stats.buffersMade++;
    this.gpu.pushErrorScope('out-of-memory');
    const buffer = this.gpu.createBuffer(descriptor);
    const asked = this.gpu.popErrorScope().then(
      (error) => {
        if (error) this.#refusedAt = performance.now();
        // Of a buffer that is freed already nobody needs to hear.
        if (error && this.#owned.has(buffer)) {
          this.#refused.set(buffer, `${label} (${formatBytes(descriptor.size)})`);
        }
        this.#asked.delete(asked);
      },
      () => {
        this.#asked.delete(asked);
      },
    );
    this.#asked.add(asked);
    this.#owned.set(buffer, kind);
    return buffer;
  }

  freeBuffer(buffer: GPUBuffer): void {
    const kind = this.#owned.get(buffer);
    if (kind === undefined) return;
    this.#owned.delete(buffer);
    this.#refused.delete(buffer);
    this.memory.remove(kind, buffer.size);
    buffer.destroy();
  }

  destroyBuffer(buffer: DeviceBuffer): void {
    this.freeBuffer(gpuBufferOf(buffer));
  }

  async settled(): Promise<void> {
    while (this.#asked.size > 0) await Promise.all(this.#asked);
    const [first] = this.#refused.values();
    if (first === undefined) return this.check();
    throw this.#noRoom(first);
  }

  #noRoom(what: string): AlloyError {
    const all = formatBytes(this.memory.bytes);
    return new AlloyError(
      'out-of-memory',
      `The GPU has no room for ${what}, with ${all} asked for in all; choose a smaller model, batch or context.`,
    );
  }

  upload(buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    if (offset + data.byteLength > buffer.bytes) {
      throw new AlloyError(
        'internal',
        `upload of ${data.byteLength} bytes at ${offset} overruns "${buffer.label}" (${buffer.bytes})`,
      );
    }
    const tail = data.byteLength % 4;
    if (tail === 0) {
      this.gpu.queue.writeBuffer(
        gpuBufferOf(buffer),
        buffer.offset + offset,
        data.buffer,
        data.byteOffset,
        data.byteLength,
      );
      return;
    }
    const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
    padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.gpu.queue.writeBuffer(gpuBufferOf(buffer), buffer.offset + offset, padded);
  }

  createFrom(data: ArrayBufferView<ArrayBuffer>, label: string, kind?: MemoryKind): DeviceBuffer {
    const buffer = this.createBuffer(data.byteLength, label, kind);
    this.upload(buffer, data);
    return buffer;
  }

  async download(buffer: DeviceBuffer, offset = 0, bytes = buffer.bytes - offset): Promise<ArrayBuffer> {
    if (bytes <= STAGING_BYTES) return this.#downloadPiece(buffer, offset, bytes);
    const whole = new Uint8Array(bytes);
    for (let from = 0; from < bytes; from += STAGING_BYTES) {
      const piece = await this.#downloadPiece(buffer, offset + from, Math.min(STAGING_BYTES, bytes - from));
      whole.set(new Uint8Array(piece), from);
    }
    return whole.buffer;
  }

  async #downloadPiece(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    const size = bufferSize(bytes);
    const copied = Math.ceil(bytes / 4) * 4;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = this.makeBuffer({ label: 'staging', size, usage }, 'staging');
    const encoder = this.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(gpuBufferOf(buffer), buffer.offset + offset, staging, 0, copied);
    this.submit(encoder.finish());
    this.stats.readbacks++;
    try {
      await staging.mapAsync(GPUMapMode.READ);
      this.check();
      return staging.getMappedRange().slice(0, bytes);
    } catch (cause) {
      while (this.#asked.size > 0) await Promise.all(this.#asked);
      const refused = this.#refused.get(staging);
      if (refused !== undefined) throw this.#noRoom(refused);
      this.check();
      throw new AlloyError('device-lost', `Reading "${buffer.label}" back from the GPU failed.`, { cause });
    } finally {
      this.freeBuffer(staging);
    }
  }

  readback(source: DeviceBuffer, depth = 2): Readback {
    return new WebReadback(this, source, depth);
  }

  async compile(kernels: Iterable<Kernel>): Promise<void> {
    await this.pipelines.compile(kernels);
  }

  /** Times dispatches that are new to the device. */
  stopwatch(): Stopwatch {
    const hasClock = this.info.features.has('timestamp-query');
    return hasClock ? new DeviceStopwatch(this.gpu) : new HostStopwatch();
  }

  record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program {
    return new WebProgram(this, dispatches, label);
  }

  submit(commands: GPUCommandBuffer): void {
    this.stats.submits++;
    this.gpu.queue.submit([commands]);
  }

  async throttle(depth = 2): Promise<void> {
    this.#inFlight.push(this.gpu.queue.onSubmittedWorkDone().then(() => undefined));
    while (this.#inFlight.length > depth) await this.#inFlight.shift();
    this.check();
  }

  async idle(): Promise<void> {
    await this.gpu.queue.onSubmittedWorkDone();
    this.#inFlight.length = 0;
    this.check();
  }

  check(): void {
    if (this.#failure) throw this.#failure;
  }

  dispose(): void {
    this.gpu.destroy();
  }
}
