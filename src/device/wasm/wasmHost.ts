/** What the WASM device needs of the place it runs in: a browser's worker, or Node. */
export interface WasmHost {
  /** Threads that may compute at once; 0 where memory cannot be shared between threads. */
  readonly threads: number;
  /** Why there is one thread alone, for a person; undefined where there are several. */
  readonly alone?: string | undefined;
  /** The compiled kernels, for memory that is shared or not. @throws AlloyError `missing-file` */
  kernels(shared: boolean): Promise<WebAssembly.Module>;
  /** Starts a thread that may become a member of a crew (`wasmCrew.ts`). */
  spawn(start: ThreadStart, events: ThreadEvents): WasmThread;
  /** Lets messages, timers and input be served. */
  breathe(): Promise<void>;
}

/** What a thread is sent when it starts. */
export interface ThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Addresses of the block that leads the crew and of the thread's own scratch memory. */
  readonly control: number;
  readonly scratch: number;
}

/** What threads tell: that one can compute, and that it was the last to come through a program. */
export type ThreadMessage = 'ready' | 'finished';

export interface ThreadEvents {
  told(message: ThreadMessage): void;
  /** The thread has ended though nobody asked it to. */
  failed(reason: string): void;
}

export interface WasmThread {
  /** Makes it a member: from now on it follows the block of memory that leads the crew. */
  join(): void;
  terminate(): void;
}

/**
 * The script of a thread. It is JavaScript in a string since browsers and Node load scripts of threads in different ways
 * and this is all that there is of it. `receive` and `send` are the host's; the first message is a `ThreadStart`, the
 * second makes the thread a member, and it hears no other since it never returns from its work.
 */
export const THREAD_SCRIPT = `
let work;
receive((start) => {
  if (work) return work();
  const { module, memory, control, scratch } = start;
  const { exports } = new WebAssembly.Instance(module, { env: { memory }, crew: { 'finished': () => send('finished') } });
  const kernels = WebAssembly.Module.exports(module).filter(({ kind }) => kind === 'function').map(({ name }) => name).sort();
  const first = exports.table.grow(kernels.length);
  kernels.forEach((name, index) => exports.table.set(first + index, exports[name]));
  exports.keepScratch(scratch);
  work = () => exports.work(control);
  send('ready');
});`;
