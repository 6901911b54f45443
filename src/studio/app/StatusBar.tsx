import { ActionIcon, Progress } from '@mantine/core';
import { useEffect } from 'react';
import { formatBytes } from '../../util/bytes.ts';
import { refreshMemory, useDevice } from '../state/device.ts';
import { useHub } from '../state/hub.ts';
import { showStage } from '../state/layout.ts';
import { isActive, isHeld, pauseRun, resumeRun, stopRun, useRun } from '../state/run.ts';
import { formatSeconds } from '../views/format.ts';
import { Icon } from '../views/Icon.tsx';
import { DeviceSwitch } from './DeviceSwitch.tsx';
import classes from './StatusBar.module.css';
import { stageWords, taskLabel } from './stageWords.ts';
import { useIdentity } from './useIdentity.ts';

const memoryEveryMs = 5000;

/** Device, memory and the one running job, on every screen. */
export function StatusBar() {
  return (
    <footer className={classes.bar}>
      <DeviceSwitch />
      <Memory />
      <Download />
      <Job />
      <span className={classes.local}>
        <Icon name="lock" size={13} /> Everything stays on this machine
      </span>
    </footer>
  );
}

function Memory() {
  const memory = useDevice((state) => state.memory);
  const onGpu = useDevice(({ device }) => device.kind === 'ready' && device.report.kind === 'webgpu');
  useEffect(() => {
    const timer = setInterval(refreshMemory, memoryEveryMs);
    return () => clearInterval(timer);
  }, []);
  if (!memory) return null;
  return (
    <span className={`${classes.memory} num`}>
      {onGpu ? 'GPU memory' : 'Memory'} {formatBytes(memory.bytes)}{' '}
      <span className="quiet">· peak {formatBytes(memory.peakBytes)}</span>
    </span>
  );
}

/** A download is seen wherever one is, unless a run is. */
function Download() {
  const download = useHub((state) => state.download);
  if (!download) return null;
  const { title, done, total } = download;
  const share = total > 0 ? Math.floor((100 * done) / total) : 0;
  return (
    <button type="button" className={`${classes.jobName} num`} onClick={() => showStage('models')}>
      Downloading {title}: {share} %
    </button>
  );
}

function Job() {
  const identify = useIdentity('ran');
  const status = useRun((state) => state.status);
  const task = useRun((state) => state.tasks.findLast((entry) => entry.state === 'running'));
  if (!isActive(status)) return <span className={classes.idle} />;
  const held = isHeld(status);
  const share = task && task.total > 0 ? task.done / task.total : undefined;
  const words = task ? `${stageWords[task.stage].doing} ${taskLabel(task.label, identify)}` : 'Starting';
  return (
    <span className={classes.job}>
      <button type="button" className={classes.jobName} onClick={() => showStage('fuse')}>
        {status === 'paused' ? 'Paused: ' : status === 'pausing' ? 'Pausing: ' : ''}
        {words}
      </button>
      {share === undefined ? null : (
        <>
          <Progress value={100 * share} w={90} size={4} aria-label={words} className={classes.jobBar} />
          <span className={`${classes.jobCount} num`}>
            {task?.done}/{task?.total}
            {task?.secondsLeft === undefined || held ? '' : ` · ${formatSeconds(task.secondsLeft)} left`}
          </span>
        </>
      )}
      <ActionIcon
        size={20}
        aria-label={held ? 'Resume the run' : 'Pause the run'}
        disabled={status === 'stopping'}
        onClick={held ? resumeRun : pauseRun}
      >
        <Icon name={held ? 'play' : 'pause'} size={12} />
      </ActionIcon>
      <ActionIcon size={20} aria-label="Stop the run" disabled={status === 'stopping'} onClick={stopRun}>
        <Icon name="stop" size={12} />
      </ActionIcon>
    </span>
  );
}
