/**
 * Who computes: a crew of threads over shared memory, or, where memory cannot be shared, the calling thread in short
 * shifts. Both run one program at a time, as it lies in memory (`wasmProgram.ts`).
 */
import { AlloyError } from '../../util/errors.ts';
import type { ThreadEvents, ThreadMessage, WasmHost, WasmThread } from './wasmHost.ts';
import type { CrewExports } from './wasmKernels.ts';
import type { WasmMemory } from './wasmMemory.ts';

/** Memory of a thread's own. */
export const SCRATCH_BYTES = 1024 * 1024;

/** Words of the block that leads a crew; see `src/kernels/assembly/crew.ts`. */
const CONTROL = {
  epoch: 0,
  stop: 1,
  program: 2,
  steps: 3,
  threads: 4,
  arrived: 5,
  turn: 6,
  next: 7,
} as const;
const CONTROL_BYTES = 256;

/** A step of a program: kernel, pieces, chunk, a word that is not used, and from `SLOTS` on what the kernel is given. */
export const STEP_BYTES = 256;
export const SLOTS = 16;

/** Threads that have not started by then are done without: a browser that refuses one may say nothing at all. */
const START_MS = 10_000;

/** A crew that waits for a thread which has died without a word moves no more; it is given up after so many looks. */
const LOOKS = 12;
const LOOK_MS = 5000;

/** How long the calling thread computes before it serves what waits. */
const SHIFT_MS = 30;

/** How long is waited; for tests. */
export interface Patience {
  /** For threads to start. */
  readonly startMs?: number | undefined;
  /** Between two looks at whether the threads move. */
  readonly lookMs?: number | undefined;
}

export interface Crew {
  readonly threads: number;
  /** @param steps dispatches of the program @throws AlloyError `device-lost` */
  run(program: number, steps: number): Promise<void>;
  dispose(): void;
}

/** Threads that sleep while there is nothing to do. */
export class ThreadCrew implements Crew {
  readonly threads: number;
  readonly #memory: WasmMemory;
  readonly #control: number;
  readonly #members: readonly WasmThread[];
  readonly #onLost: (reason: string) => void;
  readonly #watch: ReturnType<typeof setInterval>;
  #seen = '';
  #still = 0;
  #epoch = 0;
  #waiting: { resolve(): void; reject(error: AlloyError): void } | undefined;
  #lost: AlloyError | undefined;

  private constructor(
    memory: WasmMemory,
    control: number,
    members: readonly WasmThread[],
    onLost: (reason: string) => void,
    lookMs: number,
  ) {
    this.threads = members.length;
    this.#memory = memory;
    this.#control = control;
    this.#members = members;
    this.#onLost = onLost;
    this.#watch = setInterval(() => this.#look(), lookMs);
    this.#keepAlive(false);
  }

  /**
   * Starts as many threads as the host allows.
   * @param onLost hears of a thread that has ended though nobody asked it to
   * @returns the crew of those that did start, or why none did
   */
  static async open(
    host: WasmHost,
    module: WebAssembly.Module,
    memory: WasmMemory,
    onLost: (reason: string) => void,
    { startMs = START_MS, lookMs = LOOK_MS }: Patience = {},
  ): Promise<ThreadCrew | string> {
    const control = memory.take(CONTROL_BYTES, 'crew');
    let crew: ThreadCrew | undefined;
    let early: string | undefined;
    const events: ThreadEvents = {
      told(message) {
        if (crew) crew.#take(message);
      },
      failed(reason) {
        if (crew) crew.#lose(reason);
        else early ??= reason;
      },
    };
    const begun = await Promise.all(
      Array.from({ length: host.threads }, () => beginThread(host, module, memory, control, startMs, events)),
    );
    const members = begun.filter((one) => typeof one !== 'string');
    if (members.length === 0) return begun.find((one) => typeof one === 'string') ?? 'there is none';
    crew = new ThreadCrew(memory, control, members, onLost, lookMs);
    crew.#word(CONTROL.threads, members.length);
    for (const member of members) member.join();
    if (early !== undefined) crew.#lose(early);
    return crew;
  }

  run(program: number, steps: number): Promise<void> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#keepAlive(true);
      this.#word(CONTROL.program, program);
      this.#word(CONTROL.steps, steps);
      this.#wake();
    });
  }

  dispose(): void {
    this.#lost ??= new AlloyError('device-lost', 'The device was closed.');
    this.#waiting?.reject(this.#lost);
    this.#waiting = undefined;
    this.#dismiss();
  }

  /** A look is counted, not timed: a computer that was asleep has not looked. */
  #look(): void {
    const view = this.#view();
    const { epoch, arrived, turn, next } = CONTROL;
    const seen = [epoch, arrived, turn, next].map((index) => Atomics.load(view, index)).join();
    this.#still = this.#waiting && seen === this.#seen ? this.#still + 1 : 0;
    this.#seen = seen;
    if (this.#still >= LOOKS) this.#lose('no thread has moved for a long time');
  }

  #take(message: ThreadMessage): void {
    if (message !== 'finished') return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#keepAlive(false);
    waiting?.resolve();
  }

  /** In Node a timer is an object, and this one keeps the process alive while threads compute and no longer. */
  #keepAlive(alive: boolean): void {
    if (typeof this.#watch !== 'object') return;
    if (alive) this.#watch.ref();
    else this.#watch.unref();
  }

  #lose(reason: string): void {
    if (this.#lost) return;
    this.#lost = new AlloyError(
      'device-lost',
      `A thread of the processor's device ended (${reason}); open the device again and resume from the last checkpoint.`,
    );
    this.#waiting?.reject(this.#lost);
    this.#waiting = undefined;
    this.#onLost(reason);
    this.#dismiss();
  }

  #dismiss(): void {
    clearInterval(this.#watch);
    this.#word(CONTROL.stop, 1);
    this.#wake();
    for (const member of this.#members) member.terminate();
  }

  #word(index: number, value: number): void {
    Atomics.store(this.#view(), index, value);
  }

  #wake(): void {
    this.#epoch++;
    const view = this.#view();
    Atomics.store(view, CONTROL.epoch, this.#epoch);
    Atomics.notify(view, CONTROL.epoch);
  }

  #view(): Int32Array {
    return new Int32Array(this.#memory.memory.buffer, this.#control, CONTROL_BYTES / 4);
  }
}

/** Starts one thread. @param events of a member alone @returns the thread once it can compute, or why it cannot */
function beginThread(
  host: WasmHost,
  module: WebAssembly.Module,
  memory: WasmMemory,
  control: number,
  startMs: number,
  events: ThreadEvents,
): Promise<WasmThread | string> {
  return new Promise((resolve) => {
    let thread: WasmThread | undefined;
    let state: 'starting' | 'member' | 'gone' = 'starting';
    const giveUp = (reason: string) => {
      state = 'gone';
      clearTimeout(timer);
      thread?.terminate();
      resolve(reason);
    };
    const timer = setTimeout(() => giveUp(`it did not start within ${startMs / 1000} s`), startMs);
    try {
      const scratch = memory.take(SCRATCH_BYTES, 'scratch of a thread');
      thread = host.spawn(
        { module, memory: memory.memory, control, scratch },
        {
          told(message) {
            if (state === 'member') events.told(message);
            if (state !== 'starting' || !thread) return;
            state = 'member';
            clearTimeout(timer);
            resolve(thread);
          },
          failed(reason) {
            if (state === 'member') events.failed(reason);
            else giveUp(reason);
          },
        },
      );
    } catch (error) {
      giveUp(error instanceof Error ? error.message : String(error));
    }
  });
}

/** The calling thread, which serves what waits after every shift. */
export class SoloCrew implements Crew {
  readonly threads = 1;
  readonly #host: WasmHost;
  readonly #memory: WasmMemory;
  readonly #exports: CrewExports;
  #closed = false;

  constructor(host: WasmHost, memory: WasmMemory, exports: CrewExports) {
    this.#host = host;
    this.#memory = memory;
    this.#exports = exports;
    exports.keepScratch(memory.take(SCRATCH_BYTES, 'scratch'));
  }

  async run(program: number, steps: number): Promise<void> {
    let until = performance.now() + SHIFT_MS;
    for (let step = 0; step < steps; step++) {
      const at = program + step * STEP_BYTES;
      const [kernel = 0, pieces = 0, chunk = 1] = this.#memory.words(at, 3);
      for (let from = 0; from < pieces; from += chunk) {
        this.#exports.call(kernel, at + SLOTS, from, Math.min(pieces, from + chunk));
        if (performance.now() < until) continue;
        await this.#host.breathe();
        if (this.#closed) throw new AlloyError('device-lost', 'The device was closed.');
        until = performance.now() + SHIFT_MS;
      }
    }
  }

  dispose(): void {
    this.#closed = true;
  }
}
