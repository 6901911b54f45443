import type { StageName } from '../../../pipeline/protocol.ts';
import type { RunTask } from '../../state/run.ts';

export interface StageProgress {
  readonly stage: StageName;
  /** `partial`: some tasks are done, others come later; stages take turns model by model. */
  readonly state: 'waiting' | 'running' | 'partial' | 'done' | 'stopped';
  /** 0..1 over the tasks that are known or expected. */
  readonly share: number;
  readonly finished: number;
  readonly expected: number;
  readonly cached: number;
  readonly current: RunTask | undefined;
}

/**
 * How many tasks a stage is expected to have. Rows are read from every model, every source is aligned, every target and
 * the control are trained; pivot, sources, two controls, targets and two merges are evaluated.
 */
function expectedTasks(stage: StageName, sources: number): number {
  switch (stage) {
    case 'represent':
    case 'distil':
      return sources + 1;
    case 'align':
      return sources;
    case 'merge':
      return 1;
    case 'evaluate':
      return 2 * sources + 5;
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
  const expected = over ? own.length : Math.max(own.length, expectedTasks(stage, sources));
  const part = current && current.total > 0 ? current.done / current.total : 0;
  return {
    stage,
    state: stateOf(own, current, finished, expected),
    share: expected > 0 ? Math.min(1, (finished + part) / expected) : over ? 1 : 0,
    finished,
    expected,
    cached: own.filter((task) => task.cached).length,
    current,
  };
}

function stateOf(
  own: readonly RunTask[],
  current: RunTask | undefined,
  finished: number,
  expected: number,
): StageProgress['state'] {
  if (current) return 'running';
  if (own.some((task) => task.state === 'stopped')) return 'stopped';
  if (own.length === 0) return 'waiting';
  return finished >= expected ? 'done' : 'partial';
}
