import { Button, Popover } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { StageName } from '../../../pipeline/protocol.ts';
import { useChanges } from '../../app/useStageStatuses.ts';
import { selectReady, useDevice } from '../../state/device.ts';
import {
  isActive,
  isHeld,
  pauseRun,
  type RunStatus,
  restartRun,
  resumeRun,
  selectCurrentStage,
  startRun,
  stepRun,
  stopRun,
  useRun,
} from '../../state/run.ts';
import { formatSeconds } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './FuseStage.module.css';
import { settingName, showValue } from './settings.ts';

const statusWords: Readonly<Record<RunStatus, string>> = {
  idle: 'Not started',
  running: 'Running',
  pausing: 'Pausing…',
  paused: 'Paused',
  stopping: 'Stopping…',
  stopped: 'Stopped; finished parts are kept',
  done: 'Done',
  failed: 'Failed',
};

/** What a pause waits for, by what runs. */
const pausingWords: Readonly<Record<StageName, string>> = {
  represent: 'Pausing after these texts…',
  align: 'Pausing after these texts…',
  distil: 'Pausing after this step…',
  merge: 'Pausing after the merge…',
  evaluate: 'Pausing after these texts…',
};

/** Start, pause, step, stop; and a restart that says how much has changed. */
export function RunBar() {
  const status = useRun((state) => state.status);
  const current = useRun(selectCurrentStage);
  const ready = useDevice(selectReady);
  const changes = useChanges();
  const active = isActive(status);
  return (
    <div className={classes.bar} role="toolbar" aria-label="Run">
      {active ? (
        <>
          {isHeld(status) ? (
            <Button onClick={resumeRun} leftSection={<Icon name="play" size={12} />}>
              Resume
            </Button>
          ) : (
            <Button
              variant="default"
              onClick={pauseRun}
              disabled={status !== 'running'}
              leftSection={<Icon name="pause" size={12} />}
            >
              Pause
            </Button>
          )}
          <Button
            variant="default"
            onClick={stepRun}
            disabled={status !== 'paused'}
            leftSection={<Icon name="step" size={12} />}
          >
            Step
          </Button>
          <Button
            variant="default"
            onClick={stopRun}
            disabled={status === 'stopping'}
            leftSection={<Icon name="stop" size={12} />}
          >
            Stop
          </Button>
        </>
      ) : changes.length === 0 || status === 'idle' ? (
        <Button onClick={startRun} disabled={!ready} leftSection={<Icon name="play" size={12} />}>
          {status === 'idle' ? 'Start' : status === 'done' ? 'Run again' : 'Continue'}
        </Button>
      ) : null}
      {changes.length > 0 && status !== 'idle' ? (
        <Restart disabled={!ready || status === 'stopping'} />
      ) : null}
      <span className={classes.status} role="status">
        {status === 'pausing' && current ? pausingWords[current] : statusWords[status]}
      </span>
      <Elapsed />
    </div>
  );
}

function Restart({ disabled }: { readonly disabled: boolean }) {
  const changes = useChanges();
  const active = useRun((state) => isActive(state.status));
  const variant = active ? 'default' : 'filled';
  return (
    <Button.Group>
      <Button
        variant={variant}
        onClick={restartRun}
        disabled={disabled}
        leftSection={<Icon name="reset" size={12} />}
      >
        Restart with {changes.length} {changes.length === 1 ? 'change' : 'changes'}
      </Button>
      <Popover position="bottom-start" width={280} shadow="md">
        <Popover.Target>
          <Button variant={variant} px={7} aria-label="What changed">
            <Icon name="down" size={12} />
          </Button>
        </Popover.Target>
        <Popover.Dropdown>
          <ul className={classes.changes}>
            {changes.map(({ path, before, after }) => (
              <li key={path}>
                <span>{settingName(path)}</span>
                <span className="num">
                  {showValue(before, path)} → <strong>{showValue(after, path)}</strong>
                </span>
              </li>
            ))}
          </ul>
        </Popover.Dropdown>
      </Popover>
    </Button.Group>
  );
}

/** Seconds of the run without its pauses. */
function Elapsed() {
  const status = useRun((state) => state.status);
  const report = useRun((state) => state.report);
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    if (status === 'idle') setSeconds(0);
    if (status !== 'running') return;
    const timer = setInterval(() => setSeconds((before) => before + 1), 1000);
    return () => clearInterval(timer);
  }, [status]);
  const shown = status === 'done' && report ? report.seconds : seconds;
  if (status === 'idle' || shown < 1) return null;
  return <span className={`${classes.elapsed} num`}>{formatSeconds(shown)}</span>;
}
