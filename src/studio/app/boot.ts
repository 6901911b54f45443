import { connect } from '../state/client.ts';
import { openDevice } from '../state/device.ts';
import { notifyFault } from '../state/notices.ts';
import { loadProject } from '../state/project.ts';
import { isActive, useRun } from '../state/run.ts';
import { keepAwakeWhileRunning } from '../state/wakeLock.ts';

/** Starts the worker, opens the device and reads the models; the page is already there and shows how it goes. */
export async function boot(): Promise<void> {
  try {
    await connect();
  } catch (error) {
    notifyFault('The engine did not start', error);
    return;
  }
  window.addEventListener('beforeunload', (event) => {
    if (isActive(useRun.getState().status)) event.preventDefault();
  });
  keepAwakeWhileRunning();
  await Promise.all([openDevice(), loadProject()]);
}
