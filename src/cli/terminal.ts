import { EXIT_CODES } from './exitCode.ts';

/** Signals that are nearer to each other are one. */
const SAME_MS = 500;

/** Where the command line writes and what it knows of its surroundings; tests give their own. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether stderr is a screen, where one line can be written over and over. */
  readonly screen: boolean;
  /** Characters in a line of that screen. */
  readonly columns: number;
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly folder: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Calls back at the next Ctrl-C instead of ending the process; the result takes the call back. */
  onInterrupt(handler: () => void): () => void;
}

/** The process's own streams. The first Ctrl-C goes to the handler, a second one ends the process at once. */
export function processTerminal(): Terminal {
  const handlers: (() => void)[] = [];
  let interruptedAt = Number.NEGATIVE_INFINITY;
  process.on('SIGINT', () => {
    const handler = handlers.at(-1);
    if (!handler) process.exit(130);
    const now = performance.now();
    // npm passes on a signal that the terminal has sent already: two at once are one Ctrl-C.
    if (now - interruptedAt < SAME_MS) return;
    if (interruptedAt > 0) process.exit(130);
    interruptedAt = now;
    handler();
  });
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    const full = error.code === 'ENOSPC';
    const advice = full ? 'free some space' : 'check where it goes';
    process.stderr.write(
      `alloy: The output cannot be written (${error.code}); ${advice} and run it again.\n`,
    );
    process.exit(EXIT_CODES[full ? 'disk-full' : 'bad-argument']);
  });
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    screen: process.stderr.isTTY === true,
    columns: process.stderr.columns ?? 80,
    input: process.stdin,
    folder: process.cwd(),
    environment: process.env,
    onInterrupt(handler) {
      handlers.push(handler);
      interruptedAt = Number.NEGATIVE_INFINITY;
      return () => {
        handlers.splice(handlers.indexOf(handler), 1);
        interruptedAt = Number.NEGATIVE_INFINITY;
      };
    },
  };
}
