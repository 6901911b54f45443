import { connect } from '../state/client.ts';
import { openDevice, selectReady, useDevice } from '../state/device.ts';
import { refreshShelf } from '../state/hub.ts';
import { applyHubSettings } from '../state/hubSettings.ts';
import { notifyFault } from '../state/notices.ts';
import { keepRecipe, loadProject, useProject } from '../state/project.ts';
import { isActive, reopenRun, useRun } from '../state/run.ts';
import { keepAwakeWhileRunning } from '../state/wakeLock.ts';

/** Starts the worker, opens the device and reads the models; the page is already there and shows how it goes. */
export async function boot(): Promise<void> {
  try {
    await connect();
  } catch (error) {
    const fault = notifyFault('The engine did not start', error);
    useDevice.setState({ device: { kind: 'unsupported', fault } });
    useProject.setState({ fault });
    return;
  }
  window.addEventListener('beforeunload', (event) => {
    if (isActive(useRun.getState().status)) event.preventDefault();
  });
  keepAwakeWhileRunning();
  keepRecipe();
  await applyHubSettings();
  await Promise.all([openDevice(), loadProject(), refreshShelf()]);
  if (selectReady(useDevice.getState())) await reopenRun();
}
