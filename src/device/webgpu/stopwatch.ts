/** Times passes of a program, each alone in its submit. */
export interface Stopwatch {
  /** Whether it reads a clock of the device's. */
  readonly ofDevice: boolean;
  /**
   * What the next pass must be begun with; undefined where nothing is to be written.
   * @param work a guess of how much it does, in any unit
   */
  next(work: number): GPUComputePassTimestampWrites | undefined;
  /** To be called when that pass is submitted. */
  submitted(done: Promise<undefined>): void;
  /** To be called when all is submitted. @returns milliseconds of each pass, in the order of `next` */
  finish(): Promise<number[]>;
}

/** Passes that one query set can time: WebGPU allows 4096 queries in it. */
const SET_PASSES = 2048;
/** Query sets for one program; what is beyond is timed another time. */
const MOST_SETS = 8;

/** Reads the device's own clock (`timestamp-query`), which knows nothing of how busy the host is. */
export class DeviceStopwatch implements Stopwatch {
  readonly ofDevice = true;
  readonly #device: GPUDevice;
  readonly #sets: GPUQuerySet[] = [];
  /** Takes over where the device's clock stands still. */
  readonly #host = new HostStopwatch();
  #passes = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  next(work: number): GPUComputePassTimestampWrites | undefined {
    if (this.#passes === MOST_SETS * SET_PASSES) return undefined;
    this.#host.next(work);
    const at = this.#passes++ % SET_PASSES;
    if (at === 0) this.#sets.push(this.#device.createQuerySet({ type: 'timestamp', count: 2 * SET_PASSES }));
    const querySet = this.#sets.at(-1);
    return querySet && { querySet, beginningOfPassWriteIndex: 2 * at, endOfPassWriteIndex: 2 * at + 1 };
  }

  submitted(done: Promise<undefined>): void {
    this.#host.submitted(done);
  }

  async finish(): Promise<number[]> {
    const size = 16 * Math.max(1, this.#passes);
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    // Where there is no room for it, nothing is timed.
    for (const kind of ['validation', 'out-of-memory'] as const) this.#device.pushErrorScope(kind);
    const resolved = this.#device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = this.#device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    const encoder = this.#device.createCommandEncoder();
    this.#sets.forEach((querySet, index) => {
      const first = index * SET_PASSES;
      const passes = Math.min(SET_PASSES, this.#passes - first);
      encoder.resolveQuerySet(querySet, 0, 2 * passes, resolved, 16 * first);
    });
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    for (let scope = 0; scope < 2; scope++) this.#device.popErrorScope().catch(() => null);
    try {
      const [seen] = await Promise.all([this.#host.finish(), staging.mapAsync(GPUMapMode.READ)]);
      const ticks = new BigUint64Array(staging.getMappedRange());
      const times = Array.from({ length: this.#passes }, (_, pass) =>
        Math.max(0, Number((ticks[2 * pass + 1] ?? 0n) - (ticks[2 * pass] ?? 0n)) / 1e6),
      );
      return standsStill(times, seen) ? seen : times;
    } finally {
      for (const owned of [...this.#sets, resolved, staging]) owned.destroy();
    }
  }
}

/** A clock that saw nothing of so many milliseconds does not run. */
const STILL_MS = 50;

/** Some drivers have timestamps that never change. */
function standsStill(times: readonly number[], seen: readonly number[]): boolean {
  const sum = (all: readonly number[]) => all.reduce((total, one) => total + one, 0);
  return sum(times) === 0 && sum(seen) > STILL_MS;
}

/** Passes that were done within so many milliseconds were told of together: how long each took is not known. */
const TOGETHER_MS = 1;

/** Without a clock on the device: when the host heard of each pass; what it heard of together is shared out by work. */
export class HostStopwatch implements Stopwatch {
  readonly ofDevice = false;
  readonly #passes: { work: number; submittedAt: number; doneAt: number }[] = [];
  readonly #done: Promise<void>[] = [];

  next(work: number): undefined {
    this.#passes.push({ work, submittedAt: 0, doneAt: 0 });
  }

  submitted(done: Promise<undefined>): void {
    const pass = this.#passes[this.#done.length];
    if (!pass) return;
    pass.submittedAt = performance.now();
    const heard = done.then(() => {
      pass.doneAt = performance.now();
    });
    // Who never asks need not hear of a lost device here.
    heard.catch(() => undefined);
    this.#done.push(heard);
  }

  async finish(): Promise<number[]> {
    await Promise.all(this.#done);
    return sharedTimes(this.#passes);
  }
}

/**
 * How long each of several passes took.
 * @param passes in the order in which they ran, with when they were submitted and when the host heard that they were done
 */
export function sharedTimes(
  passes: readonly { readonly work: number; readonly submittedAt: number; readonly doneAt: number }[],
): number[] {
  const times = new Array<number>(passes.length).fill(0);
  let before = passes[0]?.submittedAt ?? 0;
  for (let first = 0; first < passes.length; ) {
    const doneAt = passes[first]?.doneAt ?? 0;
    let next = first;
    let [work, until] = [0, doneAt];
    for (; next < passes.length && (passes[next]?.doneAt ?? 0) < doneAt + TOGETHER_MS; next++) {
      work += passes[next]?.work ?? 0;
      until = passes[next]?.doneAt ?? until;
    }
    const ms = Math.max(0, until - Math.max(before, passes[first]?.submittedAt ?? 0));
    for (let at = first; at < next; at++) times[at] = (ms * (passes[at]?.work ?? 0)) / Math.max(work, 1e-9);
    before = until;
    first = next;
  }
  return times;
}
