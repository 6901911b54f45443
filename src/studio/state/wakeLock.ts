import { useRun } from './run.ts';

/** Keeps the screen, and with it the run, awake while a fusion is under way; returns the way out. */
export function keepAwakeWhileRunning(): () => void {
  let lock: WakeLockSentinel | undefined;
  let wanted = false;
  const update = async () => {
    wanted = useRun.getState().status === 'running';
    if (!wanted || document.visibilityState !== 'visible') {
      await lock?.release();
      lock = undefined;
      return;
    }
    if (lock && !lock.released) return;
    try {
      const asked = await navigator.wakeLock?.request('screen');
      if (wanted) lock = asked;
      else await asked?.release();
    } catch {
      // Refused on low battery, for one; the run goes on and can be resumed.
    }
  };
  const leave = useRun.subscribe((state, before) => {
    if (state.status !== before.status) update();
  });
  document.addEventListener('visibilitychange', update);
  return () => {
    leave();
    document.removeEventListener('visibilitychange', update);
  };
}
