import { useCallback, useLayoutEffect, useRef } from 'react';

/** A function that keeps its identity over renders and always calls the newest one: for handlers of memoized children. */
export function useStable<Arguments extends unknown[], Result>(
  handler: (...values: Arguments) => Result,
): (...values: Arguments) => Result {
  const newest = useRef(handler);
  useLayoutEffect(() => {
    newest.current = handler;
  });
  return useCallback((...values: Arguments) => newest.current(...values), []);
}
