import type { RunEvent } from './protocol.ts';

type Progress = Extract<RunEvent, { kind: 'progress' }>;

/** Progress is told at most this often. */
const PAUSE_MS = 50;

/**
 * Passes a run's events on in order. Of the progress of a stage only the newest within a pause is told; it never arrives
 * behind an event that came after it.
 */
export class EventPacer {
  readonly #onEvent: (event: RunEvent) => void;
  readonly #now: () => number;
  #waiting: Progress | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a monotonic clock */
  constructor(onEvent: (event: RunEvent) => void, now: () => number = () => performance.now()) {
    this.#onEvent = onEvent;
    this.#now = now;
  }

  send(event: RunEvent): void {
    // A loss says nothing about how far a stage is: what waits may wait on.
    if (event.kind === 'loss') this.#onEvent(event);
    else if (event.kind === 'progress') this.#progress(event);
    else {
      this.flush();
      this.#onEvent(event);
    }
  }

  /** Tells what waits. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    this.#toldAt = this.#now();
    this.#onEvent(waiting);
  }

  #progress(event: Progress): void {
    const waiting = this.#waiting;
    if (waiting && (waiting.stage !== event.stage || waiting.label !== event.label)) this.flush();
    this.#waiting = event;
    if (event.done >= event.total || this.#now() - this.#toldAt >= PAUSE_MS) this.flush();
  }
}
