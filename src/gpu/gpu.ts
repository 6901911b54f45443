import { AlloyError } from '../util/errors.ts';
import { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch, Kernel } from './kernel.ts';
import { Program } from './program.ts';

export interface GpuInfo {
  readonly vendor: string;
  readonly architecture: string;
  /** The adapter's `device`: a model name, a number, or empty. */
  readonly model: string;
  readonly description: string;
  /** True for lavapipe, SwiftShader and WARP: the kernels choose other tiles there. */
  readonly software: boolean;
  readonly features: ReadonlySet<string>;
}

export interface GpuLimits {
  readonly bufferBytes: number;
  readonly bindingBytes: number;
  readonly workgroupBytes: number;
  readonly workgroupThreads: number;
}

/** Counts since the device was opened; tests use them to show that a replayed step creates nothing. */
export interface GpuStats {
  /** Buffers ever made, staging and parameter blocks included. */
  buffersMade: number;
  bytes: number;
  peakBytes: number;
  bindGroups: number;
  pipelines: number;
  submits: number;
  readbacks: number;
}

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

/** An open device: buffers, pipelines, recorded programs, readback and what went wrong. */
export class Gpu {
  readonly info: GpuInfo;
  readonly limits: GpuLimits;
  readonly stats: GpuStats = {
    buffersMade: 0,
    bytes: 0,
    peakBytes: 0,
    bindGroups: 0,
    pipelines: 0,
    submits: 0,
    readbacks: 0,
  };
  readonly device: GPUDevice;
  /** Resolves with the reason when the device is lost (also after `dispose`). */
  readonly lost: Promise<string>;
  #failure: AlloyError | undefined;
  #pipelines = new Map<string, { wgsl: string; pipeline: GPUComputePipeline; layout: GPUBindGroupLayout }>();
  #inFlight: Promise<void>[] = [];

  private constructor(device: GPUDevice, info: GpuInfo) {
    this.device = device;
    this.info = info;
    this.limits = {
      bufferBytes: device.limits.maxBufferSize,
      bindingBytes: device.limits.maxStorageBufferBindingSize,
      workgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
      workgroupThreads: device.limits.maxComputeInvocationsPerWorkgroup,
    };
    this.lost = device.lost.then((reason) => {
      this.#failure ??= new AlloyError(
        'device-lost',
        `The GPU was lost (${reason.message || reason.reason}); reopen the device and resume from the last checkpoint.`,
      );
      return reason.message || reason.reason;
    });
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const code = error instanceof GPUOutOfMemoryError ? 'out-of-memory' : 'internal';
      this.#failure ??= new AlloyError(code, `The GPU reported an error: ${error.message}`);
    });
  }

  /**
   * Opens the adapter that `navigator.gpu` offers (the first argument replaces it in Node).
   * @param options.software overrides what the adapter is taken for, so that a test can run the kernels of GPUs on a
   *   software adapter
   * @throws AlloyError `no-webgpu` with what is missing and what to do.
   */
  static async open(
    gpu: GPU | undefined = globalThis.navigator?.gpu,
    options: { readonly software?: boolean } = {},
  ): Promise<Gpu> {
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
    const device = await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
    const { vendor, architecture, device: model, description } = adapter.info;
    const words = `${vendor} ${architecture} ${description}`;
    const software =
      options.software ??
      (adapter.info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|basic render|\bcpu\b/i.test(words));
    return new Gpu(device, {
      vendor,
      architecture,
      model,
      description,
      software,
      features: new Set(features),
    });
  }

  /** The adapter as a person would name it. */
  get name(): string {
    const { description, vendor, architecture, model } = this.info;
    const driver = description || [vendor, architecture].filter(Boolean).join(' ') || 'WebGPU adapter';
    return /[a-z]{2}/i.test(model) ? `${model} (${driver})` : driver;
  }

  /** Storage that kernels and copies can use; zero-filled. `bytes` is rounded up to a multiple of 4. */
  createBuffer(bytes: number, label: string): DeviceBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    if (size > this.limits.bufferBytes) {
      throw new AlloyError(
        'out-of-memory',
        `The buffer "${label}" needs ${size} bytes but this adapter allows ${this.limits.bufferBytes}; choose a smaller model, batch or context.`,
      );
    }
    const raw = this.makeBuffer({
      label,
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    this.stats.bytes += size;
    this.stats.peakBytes = Math.max(this.stats.peakBytes, this.stats.bytes);
    return new DeviceBuffer(raw, 0, size, label);
  }

  makeBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
    this.stats.buffersMade++;
    return this.device.createBuffer(descriptor);
  }

  /** Frees a buffer made by `createBuffer` (never a slice). */
  destroyBuffer(buffer: DeviceBuffer): void {
    buffer.raw.destroy();
    this.stats.bytes -= buffer.raw.size;
  }

  /** Queues a copy from host memory; ordered with the programs submitted before and after. `offset` in bytes. */
  upload(buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    if (offset + data.byteLength > buffer.bytes) {
      throw new AlloyError(
        'internal',
        `upload of ${data.byteLength} bytes at ${offset} overruns "${buffer.label}" (${buffer.bytes})`,
      );
    }
    const tail = data.byteLength % 4;
    if (tail === 0) {
      this.device.queue.writeBuffer(
        buffer.raw,
        buffer.offset + offset,
        data.buffer,
        data.byteOffset,
        data.byteLength,
      );
      return;
    }
    const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
    padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.device.queue.writeBuffer(buffer.raw, buffer.offset + offset, padded);
  }

  /** A buffer that holds `data`. */
  createFrom(data: ArrayBufferView<ArrayBuffer>, label: string): DeviceBuffer {
    const buffer = this.createBuffer(data.byteLength, label);
    this.upload(buffer, data);
    return buffer;
  }

  /** Copies a range back to the host, after all that was submitted before. */
  async download(buffer: DeviceBuffer, offset = 0, bytes = buffer.bytes - offset): Promise<ArrayBuffer> {
    const size = Math.ceil(bytes / 4) * 4;
    const staging = this.makeBuffer({
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer.raw, buffer.offset + offset, staging, 0, size);
    this.#submit(encoder.finish());
    this.stats.readbacks++;
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (cause) {
      await Promise.resolve();
      this.check();
      throw new AlloyError('device-lost', `Reading "${buffer.label}" back from the GPU failed.`, { cause });
    }
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.destroy();
    this.check();
    return copy;
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

  /** Compiles a kernel once per name, or its fallback where this device lacks a feature it enables. */
  pipeline(kernel: Kernel): { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout } {
    if (kernel.fallback && !kernel.enable.every((feature) => this.info.features.has(feature))) {
      return this.pipeline(kernel.fallback);
    }
    const known = this.#pipelines.get(kernel.name);
    if (known) {
      if (known.wgsl !== kernel.wgsl)
        throw new AlloyError('internal', `two kernels are called "${kernel.name}"`);
      return known;
    }
    const entries: GPUBindGroupLayoutEntry[] = kernel.buffers.map(({ writable }, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: writable ? 'storage' : 'read-only-storage' },
    }));
    if (kernel.params.length > 0) {
      entries.push({
        binding: entries.length,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform' },
      });
    }
    const layout = this.device.createBindGroupLayout({ label: kernel.name, entries });
    const pipeline = this.device.createComputePipeline({
      label: kernel.name,
      layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: this.device.createShaderModule({ label: kernel.name, code: kernel.wgsl }),
        entryPoint: 'main',
      },
    });
    this.stats.pipelines++;
    const made = { wgsl: kernel.wgsl, pipeline, layout };
    this.#pipelines.set(kernel.name, made);
    return made;
  }

  /** Records dispatches for replay: pipelines, parameters and bind groups are made here and never again. */
  record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program {
    return new Program(this, dispatches, label);
  }

  /** Records, runs and forgets; for work that happens once, and for tests. */
  run(dispatches: readonly Dispatch<DeviceBuffer>[], label = 'once'): void {
    const program = this.record(dispatches, label);
    program.submit();
    program.dispose();
  }

  submit(commands: GPUCommandBuffer): void {
    this.#submit(commands);
  }

  /** Waits until at most `depth` earlier calls of `throttle` are unfinished on the GPU. */
  async throttle(depth = 2): Promise<void> {
    this.#inFlight.push(this.device.queue.onSubmittedWorkDone().then(() => undefined));
    while (this.#inFlight.length > depth) await this.#inFlight.shift();
    this.check();
  }

  /** Waits for everything that was submitted. */
  async idle(): Promise<void> {
    await this.device.queue.onSubmittedWorkDone();
    this.#inFlight.length = 0;
    this.check();
  }

  /** @throws AlloyError the first error that the device reported, or that it was lost. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  dispose(): void {
    this.device.destroy();
  }

  #submit(commands: GPUCommandBuffer): void {
    this.stats.submits++;
    this.device.queue.submit([commands]);
  }
}
