import type { Device, Program } from '../src/device/device.ts';

/** Time of one kernel in one replay of the programs that were watched. */
export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly ms: number;
}

/** What is told of the programs recorded on a device since `watch`. */
export interface Watched {
  /** JavaScript: encoding and submitting. */
  readonly js: { ms: number; dispatches: number };
  /** Forgets programs and times. */
  reset(): void;
  /** Every program replayed once with timestamps, by kernel, longest first. */
  profile(): Promise<KernelTime[]>;
}

/** Measures the device's programs from outside, without a line in the engine. */
export function watch(device: Device): Watched {
  const programs = new Set<Program>();
  const js = { ms: 0, dispatches: 0 };
  const record = device.record.bind(device);
  device.record = (dispatches, label) => {
    const program = record(dispatches, label);
    const [submit, dispose] = [program.submit.bind(program), program.dispose.bind(program)];
    program.submit = (...args) => {
      const started = performance.now();
      submit(...args);
      js.ms += performance.now() - started;
      js.dispatches += program.dispatches;
    };
    program.dispose = () => {
      programs.delete(program);
      dispose();
    };
    programs.add(program);
    return program;
  };
  return {
    js,
    reset() {
      programs.clear();
      Object.assign(js, { ms: 0, dispatches: 0 });
    },
    async profile() {
      const kernels = new Map<string, { dispatches: number; ms: number }>();
      for (const program of programs) {
        for (const { kernel, ms } of await program.profile()) {
          const sum = kernels.get(kernel) ?? { dispatches: 0, ms: 0 };
          kernels.set(kernel, { dispatches: sum.dispatches + 1, ms: sum.ms + ms });
        }
      }
      return [...kernels].map(([kernel, sum]) => ({ kernel, ...sum })).sort((a, b) => b.ms - a.ms);
    },
  };
}
