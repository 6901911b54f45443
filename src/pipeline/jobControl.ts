import { AlloyError } from '../util/errors.ts';
import type { RunCommand } from './protocol.ts';

/** Pause, step and stop for a job that asks `checkpoint` between its steps. */
export class JobControl {
  #paused = false;
  #stopped = false;
  #stepsAllowed = 0;
  #wake: (() => void) | undefined;
  #onChange: (state: 'paused' | 'resumed') => void;

  constructor(onChange: (state: 'paused' | 'resumed') => void = () => undefined) {
    this.#onChange = onChange;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  command(command: RunCommand): void {
    switch (command) {
      case 'pause':
        this.#setPaused(true);
        break;
      case 'resume':
        this.#stepsAllowed = 0;
        this.#setPaused(false);
        break;
      case 'step':
        this.#setPaused(true);
        this.#stepsAllowed++;
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
    while (this.#paused && !this.#stopped && this.#stepsAllowed === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#stopped)
      throw new AlloyError('cancelled', 'The run was stopped; start it again to go on from here.');
    if (this.#paused) this.#stepsAllowed--;
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#onChange(paused ? 'paused' : 'resumed');
  }
}
