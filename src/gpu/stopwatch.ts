/** Times passes of a program, each alone in its submit. */
export interface Stopwatch {
  /** What the next pass must be begun with; undefined where nothing is to be written. */
  next(workgroups: number): GPUComputePassTimestampWrites | undefined;
  /** To be called when all is submitted. @returns milliseconds of each pass, in the order of `next` */
  finish(): Promise<number[]>;
}

/** Passes that one query set can time. */
const MOST_PASSES = 2048;

/** Reads the device's own clock (`timestamp-query`), which knows nothing of how busy the host is. */
export class DeviceStopwatch implements Stopwatch {
  readonly #device: GPUDevice;
  readonly #querySet: GPUQuerySet;
  #passes = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#querySet = device.createQuerySet({ type: 'timestamp', count: 2 * MOST_PASSES });
  }

  next(): GPUComputePassTimestampWrites | undefined {
    if (this.#passes === MOST_PASSES) return undefined;
    const at = 2 * this.#passes++;
    return { querySet: this.#querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }

  async finish(): Promise<number[]> {
    const size = 16 * Math.max(1, this.#passes);
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    // Where there is no room for it, nothing is timed.
    for (const kind of ['validation', 'out-of-memory'] as const) this.#device.pushErrorScope(kind);
    const resolved = this.#device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = this.#device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    const encoder = this.#device.createCommandEncoder();
    encoder.resolveQuerySet(this.#querySet, 0, 2 * this.#passes, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    for (let scope = 0; scope < 2; scope++) this.#device.popErrorScope().catch(() => null);
    try {
      await staging.mapAsync(GPUMapMode.READ);
      const ticks = new BigUint64Array(staging.getMappedRange());
      return Array.from({ length: this.#passes }, (_, pass) =>
        Math.max(0, Number((ticks[2 * pass + 1] ?? 0n) - (ticks[2 * pass] ?? 0n)) / 1e6),
      );
    } finally {
      for (const owned of [this.#querySet, resolved, staging]) owned.destroy();
    }
  }
}

/** Without a clock on the device: how long all passes took together, shared out by their workgroups. */
export class HostStopwatch implements Stopwatch {
  readonly #queue: GPUQueue;
  readonly #started = performance.now();
  readonly #workgroups: number[] = [];

  constructor(queue: GPUQueue) {
    this.#queue = queue;
  }

  next(workgroups: number): undefined {
    this.#workgroups.push(workgroups);
  }

  async finish(): Promise<number[]> {
    await this.#queue.onSubmittedWorkDone();
    const each = (performance.now() - this.#started) / this.#workgroups.reduce((sum, one) => sum + one, 0);
    return this.#workgroups.map((one) => one * each);
  }
}
