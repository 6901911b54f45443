import { AlloyError } from '../util/errors.ts';
import type { RunCommand } from './protocol.ts';

/** `pausing`: asked to wait, but what was begun is still under way; `paused`: waits. */
export type JobState = 'running' | 'pausing' | 'paused';

/** Pause, step and stop for a job that asks `checkpoint` between its steps. */
export class JobControl {
  #state: JobState = 'running';
  #stopped = false;
  #stepsAllowed = 0;
  #wake: (() => void) | undefined;
  #onChange: (state: JobState) => void;

  constructor(onChange: (state: JobState) => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Whether the next `checkpoint` waits. */
  get paused(): boolean {
    return this.#state !== 'running' && this.#stepsAllowed === 0;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  command(command: RunCommand): void {
    switch (command) {
      case 'pause':
        if (this.#state === 'running') this.#become('pausing');
        break;
      case 'resume':
        this.#stepsAllowed = 0;
        this.#become('running');
        break;
      case 'step':
        this.#stepsAllowed++;
        this.#become('pausing');
        break;
      case 'stop':
        this.#stopped = true;
        break;
      default:
        throw new AlloyError('internal', `unknown command ${command satisfies never}`);
    }
    this.#wake?.();
  }

  /** Waits while paused. @throws AlloyError `cancelled` once stopped; what is finished is kept. */
  async checkpoint(): Promise<void> {
    while (this.paused && !this.#stopped) {
      this.#become('paused');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#stopped)
      throw new AlloyError('cancelled', 'The run was stopped; start it again to go on from here.');
    if (this.#stepsAllowed > 0) this.#stepsAllowed--;
  }

  #become(state: JobState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#onChange(state);
  }
}
