/**
 * What the engine asks of a device. Everything above speaks to this interface alone: `WebGpuDevice` and `WasmDevice` run it,
 * `PaperDevice` only counts what it would take.
 */
import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch, Kernel } from './kernel.ts';
import type { MemoryKind, MemoryLedger } from './memoryLedger.ts';

/** What kernels are chosen for: a GPU, a software adapter of WebGPU, or WASM. */
export type Tuning = 'gpu' | 'software' | 'wasm';

export interface DeviceInfo {
  readonly vendor: string;
  readonly architecture: string;
  /** The adapter's `device`: a model name, a number, or empty. */
  readonly model: string;
  readonly description: string;
  readonly tuning: Tuning;
  readonly features: ReadonlySet<string>;
}

/** Whether the processor computes (WASM, lavapipe, SwiftShader, WARP), so that less should be done at a time. */
export function isOnProcessor({ tuning }: Pick<DeviceInfo, 'tuning'>): boolean {
  return tuning !== 'gpu';
}

export interface DeviceLimits {
  readonly bufferBytes: number;
  readonly bindingBytes: number;
  /** Matrices of a model are cut into pieces of about this size, at most `bindingBytes`. */
  readonly pieceBytes: number;
  readonly workgroupBytes: number;
  readonly workgroupThreads: number;
  /** Storage buffers that a kernel may bind; 8 everywhere. */
  readonly storageBuffers: number;
  /** What all buffers together may take: what the person allows, since no adapter tells. */
  readonly totalBytes: number;
}

/** Counts since the device was opened; tests use them to show that a replayed step creates nothing. */
export interface DeviceStats {
  /** Buffers ever made, staging and parameter blocks included. */
  buffersMade: number;
  /** What all buffers take now, and what they took at most. */
  readonly bytes: number;
  readonly peakBytes: number;
  bindGroups: number;
  pipelines: number;
  submits: number;
  readbacks: number;
  /** The longest time that one submit has kept the device busy, where programs are cut by what was measured. */
  longestSubmitMs: number;
}

/** A list of dispatches with everything made beforehand, to be replayed. */
export interface Program {
  readonly label: string;
  readonly dispatches: number;
  /** Encodes and submits all dispatches; returns at once. */
  submit(): void;
  /** Submits and waits while more than two earlier runs are unfinished. */
  run(): Promise<void>;
  /**
   * Milliseconds on the GPU for every dispatch, in order (needs `timestamp-query`); one pass a dispatch, so slower
   * than a run.
   */
  profile(): Promise<{ kernel: string; ms: number }[]>;
  /** Frees the parameters; the buffers of the dispatches belong to whoever made them. */
  dispose(): void;
}

/** Reads one range of a buffer again and again, so that reading losses or tokens in a loop creates nothing. */
export interface Readback {
  /** True while another `read` may start. */
  readonly ready: boolean;
  /**
   * The range as it is after all that was submitted before this call. With `program`, that is submitted too, and the copy
   * with it.
   */
  read(program?: Program): Promise<ArrayBuffer>;
  dispose(): void;
}

/** An open device: buffers, recorded programs, readback and what went wrong. */
export interface Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly stats: DeviceStats;
  /** What its buffers are for. */
  readonly memory: MemoryLedger;
  /** The adapter as a person would name it. */
  readonly name: string;
  /** Resolves with the reason when the device is lost (also after `dispose`). */
  readonly lost: Promise<string>;

  /**
   * Storage that kernels and copies can use; zero-filled. `bytes` is rounded up to a multiple of 4.
   * @throws AlloyError `out-of-memory` where the limits are in the way; see `settled` for what the device itself lacks
   */
  createBuffer(bytes: number, label: string, kind?: MemoryKind): DeviceBuffer;
  /** Frees a buffer made by `createBuffer` (never a slice). */
  destroyBuffer(buffer: DeviceBuffer): void;
  /** A buffer that holds `data`. */
  createFrom(data: ArrayBufferView<ArrayBuffer>, label: string, kind?: MemoryKind): DeviceBuffer;
  /** Runs `make`; where it throws, all buffers that it has made are freed. */
  allOrNothing<T>(make: () => T): T;
  /**
   * Resolves when the device has granted every buffer made so far. To be awaited before programs over new buffers run.
   * @throws AlloyError `out-of-memory` naming what it had no room for; free what was made with it
   */
  settled(): Promise<void>;

  /** Queues a copy from host memory; ordered with the programs submitted before and after. `offset` in bytes. */
  upload(buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset?: number): void;
  /**
   * Copies a range back to the host, after all that was submitted before. A large range is read in pieces: nothing may
   * write it meanwhile.
   */
  download(buffer: DeviceBuffer, offset?: number, bytes?: number): Promise<ArrayBuffer>;
  downloadF32(
    buffer: DeviceBuffer,
    elements?: number,
    offsetBytes?: number,
  ): Promise<Float32Array<ArrayBuffer>>;
  downloadU32(
    buffer: DeviceBuffer,
    elements?: number,
    offsetBytes?: number,
  ): Promise<Uint32Array<ArrayBuffer>>;
  /** @param depth reads that may be under way at once */
  readback(source: DeviceBuffer, depth?: number): Readback;

  /** Compiles kernels side by side, so that recording them does not wait for one after the other. */
  compile(kernels: Iterable<Kernel>): Promise<void>;
  /** Records dispatches for replay: pipelines, parameters and bind groups are made here and never again. */
  record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program;
  /** Records, runs and forgets; for work that happens once, and for tests. */
  run(dispatches: readonly Dispatch<DeviceBuffer>[], label?: string): void;
  /** Waits until at most `depth` earlier calls of `throttle` are unfinished on the GPU. */
  throttle(depth?: number): Promise<void>;
  /** Waits for everything that was submitted. */
  idle(): Promise<void>;
  /** @throws AlloyError the first error that the device reported, or that it was lost. */
  check(): void;
  dispose(): void;
}

/** A large range is read back in pieces of this size. */
export const STAGING_BYTES = 16 * 1024 * 1024;

/** What the parameters of one dispatch take: the largest alignment of uniforms that WebGPU knows. */
export const PARAMS_BYTES = 256;

/** What a buffer of so many bytes takes: a multiple of 4, and at least 16. */
export function bufferSize(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 4) * 4);
}

export function adapterName({
  description,
  vendor,
  architecture,
  model,
}: Pick<DeviceInfo, 'description' | 'vendor' | 'architecture' | 'model'>): string {
  const driver = description || [vendor, architecture].filter(Boolean).join(' ') || 'WebGPU adapter';
  return /[a-z]{2}/i.test(model) ? `${model} (${driver})` : driver;
}

/** The counters of a device on which nothing has happened yet. */
export function newStats(memory: MemoryLedger): DeviceStats {
  return {
    buffersMade: 0,
    get bytes() {
      return memory.bytes;
    },
    get peakBytes() {
      return memory.peakBytes;
    },
    bindGroups: 0,
    pipelines: 0,
    submits: 0,
    readbacks: 0,
    longestSubmitMs: 0,
  };
}

/** @returns the bytes that a buffer will have; @throws AlloyError `out-of-memory` beyond what the adapter allows for one */
export function allowedSize(bytes: number, label: string, { bufferBytes }: DeviceLimits): number {
  const size = bufferSize(bytes);
  if (size <= bufferBytes) return size;
  throw new AlloyError(
    'out-of-memory',
    `The buffer "${label}" needs ${formatBytes(size)} but this adapter allows ${formatBytes(bufferBytes)}; choose a smaller model, batch or context.`,
  );
}
