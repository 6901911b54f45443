/**
 * For data that comes faster than the page should draw: writers call `touch` as often as they like, readers hear of it
 * at most once a frame. The version counts the frames in which something changed.
 */
export interface Pulse {
  readonly touch: () => void;
  readonly version: () => number;
  /** For `useSyncExternalStore`; returns the way out. */
  readonly subscribe: (listener: () => void) => () => void;
}

type Schedule = (draw: () => void) => void;

/** A hidden tab gets no animation frames, so a slow timer stands in for them there. */
const nextFrame: Schedule = (draw) => {
  if (typeof requestAnimationFrame === 'function' && globalThis.document?.visibilityState !== 'hidden') {
    requestAnimationFrame(draw);
  } else {
    setTimeout(draw, 200);
  }
};

export function createPulse(schedule: Schedule = nextFrame): Pulse {
  const listeners = new Set<() => void>();
  let version = 0;
  let waiting = false;
  const beat = () => {
    waiting = false;
    version++;
    for (const listener of listeners) listener();
  };
  return {
    touch: () => {
      if (waiting) return;
      waiting = true;
      schedule(beat);
    },
    version: () => version,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
