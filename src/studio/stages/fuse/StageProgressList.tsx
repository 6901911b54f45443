import { stageWords, taskLabel } from '../../app/stageWords.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import { useProject } from '../../state/project.ts';
import { isActive, stageNames, useRun } from '../../state/run.ts';
import { formatSeconds } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './FuseStage.module.css';
import { type StageProgress, stageProgress } from './progress.ts';

/** The five stages of a run side by side: what is done, what came from the store, how long the current one still takes. */
export function StageProgressList() {
  const identify = useIdentity('ran');
  const tasks = useRun((state) => state.tasks);
  const status = useRun((state) => state.status);
  const ran = useRun((state) => state.recipe);
  const edited = useProject((state) => state.recipe);
  const sources = (ran ?? edited)?.sources.length ?? 0;
  return (
    <>
      <ol className={classes.stages} aria-label="Progress">
        {stageNames.map((stage) => {
          const progress = stageProgress(stage, tasks, sources, status === 'done');
          return (
            <li key={stage} className={classes.progress} data-state={progress.state}>
              <span className={classes.progressName}>
                {progress.state === 'done' ? (
                  <span className={classes.mark}>
                    <Icon name="check" size={12} />
                  </span>
                ) : null}
                {stageWords[stage].name}
                <span className={`${classes.progressCount} num`}>
                  {progress.state === 'waiting' || progress.expected < 2
                    ? ''
                    : `${progress.finished}/${progress.expected}`}
                </span>
              </span>
              <span
                className={classes.progressTrack}
                role="progressbar"
                aria-label={stageWords[stage].name}
                aria-valuenow={Math.round(100 * progress.share)}
                aria-valuemin={0}
                aria-valuemax={100}
              >
                <span style={{ width: `${100 * progress.share}%` }} />
              </span>
              <span className={`${classes.progressNote} num`}>
                {note(progress, isActive(status), identify)}
              </span>
            </li>
          );
        })}
      </ol>
      <HowItRuns />
    </>
  );
}

/** How the task at hand runs, where that is worth a sentence: on another device, with a smaller plan. */
function HowItRuns() {
  const text = useRun(({ status, tasks }) =>
    isActive(status) ? tasks.findLast(({ state }) => state === 'running')?.note : undefined,
  );
  return (
    <p className={classes.howItRuns} role="status">
      {text ? (
        <>
          <Icon name="info" size={13} /> {text}
        </>
      ) : null}
    </p>
  );
}

function note(
  { state, current, cached, finished }: StageProgress,
  active: boolean,
  identify: ReturnType<typeof useIdentity>,
): string {
  if (current && active) {
    const left = current.secondsLeft === undefined ? '' : ` · ${formatSeconds(current.secondsLeft)} left`;
    return `${taskLabel(current.label, identify)}${left}`;
  }
  if (state === 'done') return cached === finished && cached > 0 ? 'from an earlier run' : 'done';
  if (state === 'stopped') return 'stopped';
  if (state === 'partial') return active ? 'goes on later' : '';
  return active ? 'waits' : '';
}
