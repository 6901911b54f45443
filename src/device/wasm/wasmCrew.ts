/**
 * Who computes: a crew of threads over shared memory, or, where memory cannot be shared, the calling thread in short
 * shifts. Both run one program at a time, as it lies in memory (`wasmProgram.ts`).
 */
import { AlloyError } from '../../util/errors.ts';
import type { WasmHost, WasmThread } from './wasmHost.ts';
import type { CrewExports } from './wasmKernels.ts';
import type { WasmMemory } from './wasmMemory.ts';

/** Memory of a thread's own. */
export const SCRATCH_BYTES = 1024 * 1024;

/** Words of the block that leads a crew; see `src/kernels/assembly/crew.ts`. */
const CONTROL = { epoch: 0, stop: 1, program: 2, steps: 3, threads: 4 } as const;
const CONTROL_BYTES = 256;

/** A step of a program: kernel, pieces, chunk, a word that is not used, and from `SLOTS` on what the kernel is given. */
export const STEP_BYTES = 256;
export const SLOTS = 16;

/** How long the calling thread computes before it serves what waits. */
const SHIFT_MS = 30;

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
  #epoch = 0;
  #waiting: { resolve(): void; reject(error: AlloyError): void } | undefined;
  #lost: AlloyError | undefined;

  /** @param onLost hears of a thread that has ended though nobody asked it to */
  constructor(
    host: WasmHost,
    module: WebAssembly.Module,
    memory: WasmMemory,
    onLost: (reason: string) => void,
  ) {
    this.threads = host.threads;
    this.#memory = memory;
    this.#control = memory.take(CONTROL_BYTES, 'crew');
    this.#word(CONTROL.threads, this.threads);
    const events = {
      finished: () => {
        const waiting = this.#waiting;
        this.#waiting = undefined;
        waiting?.resolve();
      },
      failed: (reason: string) => {
        if (this.#lost) return;
        this.#lost = new AlloyError(
          'device-lost',
          `A thread of the processor's device ended (${reason}); open the device again and resume from the last checkpoint.`,
        );
        this.#waiting?.reject(this.#lost);
        this.#waiting = undefined;
        onLost(reason);
        this.#dismiss();
      },
    };
    this.#members = Array.from({ length: this.threads }, () =>
      host.spawn(
        {
          module,
          memory: memory.memory,
          control: this.#control,
          scratch: memory.take(SCRATCH_BYTES, 'scratch of a thread'),
        },
        events,
      ),
    );
  }

  run(program: number, steps: number): Promise<void> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
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

  #dismiss(): void {
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
