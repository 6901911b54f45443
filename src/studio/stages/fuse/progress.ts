import type { StageName } from '../../../pipeline/protocol.ts';
import type { RunTask } from '../../state/run.ts';

export interface StageProgress {
  readonly stage: StageName;
  readonly state: 'waiting' | 'running' | 'done' | 'stopped';
  /** 0..1 over the tasks that are known or expected. */
  readonly share: number;
  readonly finished: number;
  readonly expected: number;
  readonly cached: number;
  readonly current: RunTask | undefined;
}

/** How many tasks a stage has at least: one row reading a model, one alignment a source, one training a target and SFT. */
function expectedTasks(stage: StageName, sources: number): number {
  switch (stage) {
    case 'represent':
    case 'distil':
      return sources + 1;
    case 'align':
      return sources;
    case 'merge':
    case 'evaluate':
      return 1;
  }
}

/** Where one stage of a run stands; `over` says that the run has ended well, so that nothing is waiting any more. */
export function stageProgress(
  stage: StageName,
  tasks: readonly RunTask[],
  sources: number,
  over: boolean,
): StageProgress {
  const own = tasks.filter((task) => task.stage === stage);
  const finished = own.filter((task) => task.state === 'done').length;
  const current = own.findLast((task) => task.state === 'running');
  const lastOwn = tasks.findLastIndex((task) => task.stage === stage);
  const movedOn = lastOwn >= 0 && tasks.slice(lastOwn + 1).some((task) => task.stage !== stage);
  const complete = own.length > 0 && finished === own.length && (over || movedOn);
  const expected = complete ? own.length : Math.max(own.length, expectedTasks(stage, sources));
  const part = current && current.total > 0 ? current.done / current.total : 0;
  const state = complete
    ? 'done'
    : current
      ? 'running'
      : own.some((task) => task.state === 'stopped')
        ? 'stopped'
        : own.length > 0
          ? 'running'
          : 'waiting';
  return {
    stage,
    state,
    share: complete ? 1 : Math.min(1, (finished + part) / expected),
    finished,
    expected,
    cached: own.filter((task) => task.cached).length,
    current,
  };
}
