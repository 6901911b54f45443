import type { Terminal } from './terminal.ts';

/** Milliseconds between lines about the same thing where nothing can be written over. */
const SPARSE_MS = 10_000;
const SCREEN_MS = 80;

/** How far a job is, on stderr: one line that is written over on a screen, sparse lines elsewhere. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #quiet: boolean;
  readonly #now: () => number;
  #shown = '';
  #label = '';
  #finished: string | undefined;
  #at = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, quiet: boolean, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#quiet = quiet;
    this.#now = now;
  }

  /**
   * @param secondsLeft undefined while nobody can tell
   * @param count how far it is, in words
   */
  update(
    label: string,
    done: number,
    total: number,
    secondsLeft: number | undefined,
    count = `${done} of ${total}`,
  ): void {
    if (this.#quiet || label === this.#finished) return;
    const { screen } = this.#terminal;
    const now = this.#now();
    const over = done >= total;
    const fresh = label !== this.#label;
    // What is over in a moment gets one line, when it is done.
    const due = fresh ? screen : now - this.#at >= (screen ? SCREEN_MS : SPARSE_MS);
    if (fresh || due) this.#at = now;
    this.#label = label;
    this.#finished = over ? label : undefined;
    if (!due && !over) return;
    const left = secondsLeft === undefined || over ? '' : `, ${timeText(secondsLeft)} left`;
    const line = `${label}: ${count}${left}`;
    if (!screen) this.#terminal.err(`${line}\n`);
    else {
      this.#overwrite(line);
      if (over) {
        this.#terminal.err('\n');
        this.#shown = '';
      }
    }
  }

  /** A line that stays. */
  note(text: string): void {
    if (this.#quiet) return;
    this.clear();
    this.#terminal.err(`${text}\n`);
  }

  /** Takes the line that is written over away, so that other output starts on a clean one. */
  clear(): void {
    this.#label = '';
    if (this.#terminal.screen && this.#shown !== '') this.#terminal.err('\r\u001b[2K');
    this.#shown = '';
  }

  #overwrite(line: string): void {
    this.#shown = line.slice(0, Math.max(20, this.#terminal.columns - 1));
    this.#terminal.err(`\r\u001b[2K${this.#shown}`);
  }
}

/** Seconds as a person says them. */
export function timeText(seconds: number): string {
  if (seconds < 1) return 'less than 1 s';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
