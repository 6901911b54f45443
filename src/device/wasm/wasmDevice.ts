import { AlloyError } from '../../util/errors.ts';
import { BaseDevice } from '../baseDevice.ts';
import {
  adapterName,
  allowedSize,
  type Device,
  type DeviceInfo,
  type DeviceLimits,
  type DeviceStats,
  newStats,
  type Program,
  type Readback,
} from '../device.ts';
import { DeviceBuffer } from '../deviceBuffer.ts';
import type { Dispatch, Kernel } from '../kernel.ts';
import { type MemoryKind, MemoryLedger } from '../memoryLedger.ts';
import { addressOf, type WasmRange } from './wasmBuffer.ts';
import { type Crew, type Patience, SoloCrew, ThreadCrew } from './wasmCrew.ts';
import type { WasmHost } from './wasmHost.ts';
import { instantiate, type WasmKernels } from './wasmKernels.ts';
import { WasmMemory } from './wasmMemory.ts';
import { WasmProgram } from './wasmProgram.ts';

export interface WasmOptions {
  readonly patience?: Patience;
  /** Lower limits than those of the memory. */
  readonly limits?: Partial<Pick<DeviceLimits, 'bufferBytes' | 'bindingBytes' | 'pieceBytes' | 'totalBytes'>>;
}

/** What was asked of the device, in order: the crew's programs, and what the calling thread does between them. */
type Job = { readonly program: number; readonly steps: number } | { readonly act: () => void };

/** The processor as a device: kernels in WebAssembly on several threads, with all buffers in one memory of theirs. */
export class WasmDevice extends BaseDevice implements Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly memory: MemoryLedger;
  readonly stats: DeviceStats;
  readonly lost: Promise<string>;
  readonly kernels: WasmKernels;
  /** Why one thread computes alone, as half a sentence; undefined where there are several. */
  readonly alone: string | undefined;
  readonly #heap: WasmMemory;
  readonly #crew: Crew;
  readonly #kinds = new Map<WasmRange, MemoryKind>();
  readonly #marks: Promise<void>[] = [];
  #jobs: Job[] = [];
  #busy = false;
  #failure: AlloyError | undefined;
  #lose: (reason: string) => void = () => undefined;

  private constructor({ crew, heap, kernels, alone }: Opened, options: WasmOptions) {
    super();
    this.#heap = heap;
    this.#crew = crew;
    this.kernels = kernels;
    this.alone = alone;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    const { threads } = crew;
    const description = `the processor (WebAssembly, ${threads === 1 ? 'one thread' : `${threads} threads`})`;
    this.info = {
      vendor: '',
      architecture: '',
      model: '',
      description,
      tuning: 'wasm',
      features: new Set(['simd', ...(heap.shared ? ['threads'] : [])]),
    };
    this.limits = {
      bufferBytes: heap.maximumBytes,
      bindingBytes: heap.maximumBytes,
      workgroupBytes: 0,
      workgroupThreads: 1,
      storageBuffers: 32,
      totalBytes: heap.maximumBytes - RESERVED_BYTES,
      pieceBytes: Number.POSITIVE_INFINITY,
      ...options.limits,
    };
    this.memory = new MemoryLedger(this.limits.totalBytes);
    this.stats = newStats(this.memory);
  }

  /** @throws AlloyError `missing-file` without compiled kernels; `out-of-memory` where no memory is granted */
  static async open(host: WasmHost, options: WasmOptions = {}): Promise<WasmDevice> {
    let device: WasmDevice | undefined;
    const onLost = (reason: string) => {
      if (device) device.#fail(reason);
    };
    const opened = await openCrew(host, onLost, options.patience);
    device = new WasmDevice(opened, options);
    return device;
  }

  get name(): string {
    return adapterName(this.info);
  }

  get threads(): number {
    return this.#crew.threads;
  }

  createBuffer(bytes: number, label: string, kind: MemoryKind = 'scratch'): DeviceBuffer {
    const size = allowedSize(bytes, label, this.limits);
    this.memory.add(kind, size, label);
    let address: number;
    try {
      address = this.#heap.take(size, label);
    } catch (error) {
      this.memory.remove(kind, size);
      throw error;
    }
    this.stats.buffersMade++;
    const range: WasmRange = { size, address };
    this.#kinds.set(range, kind);
    return this.made(new DeviceBuffer(range, 0, size, label));
  }

  destroyBuffer(buffer: DeviceBuffer): void {
    const range = buffer.memory as WasmRange;
    const kind = this.#kinds.get(range);
    if (kind === undefined) return;
    this.#kinds.delete(range);
    this.memory.remove(kind, range.size);
    this.#enqueue({ act: () => this.#heap.give(range.address) });
  }

  createFrom(data: ArrayBufferView<ArrayBuffer>, label: string, kind?: MemoryKind): DeviceBuffer {
    const buffer = this.createBuffer(data.byteLength, label, kind);
    this.#write(buffer, data, 0);
    return buffer;
  }

  async settled(): Promise<void> {
    this.check();
  }

  upload(buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    this.#checkRange('upload', buffer, offset, data.byteLength);
    if (!this.#busy) {
      this.#write(buffer, data, offset);
      return;
    }
    const copy = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    this.#enqueue({ act: () => this.#write(buffer, copy, offset) });
  }

  async download(buffer: DeviceBuffer, offset = 0, bytes = buffer.bytes - offset): Promise<ArrayBuffer> {
    this.#checkRange('download', buffer, offset, bytes);
    this.stats.readbacks++;
    return this.#after(() => {
      const copy = new Uint8Array(bytes);
      copy.set(this.#heap.bytes(addressOf(buffer) + offset, bytes));
      return copy.buffer;
    });
  }

  readback(source: DeviceBuffer, depth = 2): Readback {
    let free = depth;
    return {
      get ready() {
        return free > 0;
      },
      read: async (program) => {
        if (free === 0) throw new AlloyError('internal', `${source.label}: too many reads at once`);
        free--;
        try {
          program?.submit();
          return await this.download(source);
        } finally {
          free++;
        }
      },
      dispose: () => undefined,
    };
  }

  async compile(kernels: Iterable<Kernel>): Promise<void> {
    for (const kernel of kernels) this.kernels.numberOf(kernel);
  }

  record(dispatches: readonly Dispatch<DeviceBuffer>[], label: string): Program {
    return new WasmProgram(this, dispatches, label);
  }

  /** @param program address of its first step */
  submit(program: number, steps: number): void {
    this.stats.submits++;
    this.#enqueue({ program, steps });
  }

  async throttle(depth = 2): Promise<void> {
    const mark = this.#after(() => undefined);
    // Whoever waits for it hears of a failure; a mark that nobody waits for any more has nothing to say.
    mark.catch(() => undefined);
    this.#marks.push(mark);
    while (this.#marks.length > depth) await this.#marks.shift();
    this.check();
  }

  async idle(): Promise<void> {
    this.#marks.length = 0;
    await this.#after(() => undefined);
    this.check();
  }

  check(): void {
    if (this.#failure) throw this.#failure;
  }

  dispose(): void {
    this.#fail('it was closed');
    this.#crew.dispose();
  }

  /** What lies beside a buffer, or where one was, is another one's: there is no validation below this. */
  #checkRange(what: string, buffer: DeviceBuffer, offset: number, bytes: number): void {
    const inside = offset >= 0 && bytes >= 0 && offset + bytes <= buffer.bytes;
    if (inside && (this.#failure || this.#kinds.has(buffer.memory as WasmRange))) return;
    throw new AlloyError(
      'internal',
      `${what} of ${bytes} bytes at ${offset} ${inside ? 'comes too late for' : 'overruns'} "${buffer.label}" (${buffer.bytes})`,
    );
  }

  #write(buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset: number): void {
    const source = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#heap.bytes(addressOf(buffer) + offset, data.byteLength).set(source);
  }

  /** The result of `act` once everything that was asked for before is done. */
  #after<T>(act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#enqueue({
        act: () => {
          if (this.#failure) return reject(this.#failure);
          try {
            resolve(act());
          } catch (error) {
            // No room in the page for what is read back: a matter between who asked and nobody else.
            reject(error);
          }
        },
      });
    });
  }

  #enqueue(job: Job): void {
    this.#jobs.push(job);
    this.#pump();
  }

  #pump(): void {
    while (!this.#busy) {
      const job = this.#jobs.shift();
      if (!job) return;
      if ('act' in job) job.act();
      else if (!this.#failure) {
        this.#busy = true;
        this.#crew
          .run(job.program, job.steps)
          .catch((error: unknown) => this.#fail(error instanceof Error ? error.message : String(error)))
          .then(() => {
            this.#busy = false;
            this.#pump();
          });
      }
    }
  }

  #fail(reason: string): void {
    if (this.#failure) return;
    this.#failure = new AlloyError(
      'device-lost',
      `The processor's threads were lost (${reason}); open the device again and resume from the last checkpoint.`,
    );
    this.#lose(reason);
  }
}

interface Opened {
  readonly crew: Crew;
  readonly heap: WasmMemory;
  readonly kernels: WasmKernels;
  readonly alone: string | undefined;
}

/** Threads where there can be any, else the calling thread alone. */
async function openCrew(
  host: WasmHost,
  onLost: (reason: string) => void,
  patience?: Patience,
): Promise<Opened> {
  let { alone } = host;
  if (host.threads > 0) {
    try {
      const { module, heap, kernels } = await openModule(host, true);
      const crew = await ThreadCrew.open(host, module, heap, onLost, patience);
      if (typeof crew !== 'string') return { crew, heap, kernels, alone: undefined };
      alone = `no thread could be started (${crew})`;
    } catch (error) {
      if (!(error instanceof AlloyError && error.code === 'out-of-memory')) throw error;
      alone = 'no memory was granted that threads can share';
    }
  }
  const { heap, kernels, exports } = await openModule(host, false);
  return { crew: new SoloCrew(host, heap, exports), heap, kernels, alone };
}

async function openModule(host: WasmHost, shared: boolean) {
  const module = await host.kernels(shared);
  const heap = WasmMemory.open(shared);
  const { exports, kernels } = instantiate(module, heap.memory);
  heap.reserve(exports.heapBase.value);
  return { module, heap, exports, kernels };
}

/** Of the memory, for the kernels' own data, the crew and what the gaps between buffers cost. */
const RESERVED_BYTES = 64 * 1024 * 1024;
