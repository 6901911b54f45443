/**
 * Runs an asynchronous job for the newest request only: at most one is in flight, requests that arrive meanwhile
 * collapse into one, and a result that a newer request has overtaken is dropped.
 */
export interface Latest {
  /** Asks for a run after the pause; asking again restarts the pause. */
  readonly request: () => void;
  /** Forgets what waits and drops what is in flight. */
  readonly cancel: () => void;
}

/**
 * @param job does the work
 * @param accept takes a result that is still current
 * @param reject hears of a failure that is still current
 * @param pauseMs quiet time before a run; 0 starts at once
 */
export function createLatest<T>(
  job: () => Promise<T>,
  accept: (result: T) => void,
  reject: (error: unknown) => void,
  pauseMs = 0,
): Latest {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let newest = 0;
  /** The last request that still wants a run; a cancellation is newer than it. */
  let wanted = 0;
  let running = false;

  const run = async () => {
    timer = undefined;
    if (running) return;
    running = true;
    const mine = newest;
    try {
      const result = await job();
      if (mine === newest) accept(result);
    } catch (error) {
      if (mine === newest) reject(error);
    } finally {
      running = false;
      // A request whose pause ran out meanwhile found this run in the way.
      if (mine !== newest && wanted === newest && timer === undefined) run();
    }
  };

  return {
    request: () => {
      wanted = ++newest;
      clearTimeout(timer);
      timer = undefined;
      if (pauseMs > 0) timer = setTimeout(run, pauseMs);
      else run();
    },
    cancel: () => {
      newest++;
      clearTimeout(timer);
      timer = undefined;
    },
  };
}
