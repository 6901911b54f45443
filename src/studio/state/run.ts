import { create } from 'zustand';
import type { AlignmentSummary, Report, RunEvent, StageName } from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { engine } from './client.ts';
import { openDevice, refreshMemory } from './device.ts';
import { type Fault, toFault } from './fault.ts';
import { addLoss, resetLosses } from './losses.ts';
import { loadMerge } from './merge.ts';
import { notifyFault } from './notices.ts';
import { useProject } from './project.ts';
import { createPulse } from './pulse.ts';

export const stageNames = [
  'represent',
  'align',
  'distil',
  'merge',
  'evaluate',
] as const satisfies StageName[];

export interface RunTask {
  readonly stage: StageName;
  readonly label: string;
  readonly cached: boolean;
  readonly state: 'running' | 'done' | 'stopped';
  readonly done: number;
  readonly total: number;
  readonly secondsLeft: number | undefined;
  /** How it runs, where that is worth a sentence. */
  readonly note?: string;
}

export type RunStatus =
  | 'idle'
  | 'running'
  | 'pausing'
  | 'paused'
  | 'stopping'
  /** Ended by the person; its finished stages are kept. */
  | 'stopped'
  | 'done'
  | 'failed';

interface RunStore {
  readonly status: RunStatus;
  /** What the current or last run was started with. */
  readonly recipe: Recipe | undefined;
  readonly tasks: readonly RunTask[];
  /** Targets whose curves exist, in order: `sft` and sources. */
  readonly targets: readonly string[];
  readonly summaries: Readonly<Record<string, AlignmentSummary>>;
  readonly report: Report | undefined;
  /** Whether the run has reached a merged model. */
  readonly merged: boolean;
  readonly fault: Fault | undefined;
}

const initial: RunStore = {
  status: 'idle',
  recipe: undefined,
  tasks: [],
  targets: [],
  summaries: {},
  report: undefined,
  merged: false,
  fault: undefined,
};

export const useRun = create<RunStore>()(() => initial);

export const isActive = (status: RunStatus) =>
  status === 'running' || isHeld(status) || status === 'stopping';

/** Waits, or will once what was begun has ended. */
export const isHeld = (status: RunStatus) => status === 'paused' || status === 'pausing';

export const selectCurrentStage = (state: RunStore) =>
  state.tasks.findLast((task) => task.state === 'running')?.stage;

let generation = 0;

/** A finished run that is being brought back; the engine does one run at a time. */
let reopening: Promise<boolean> | undefined;

/** Brings back the finished run of the recipe as it is, where all of it is kept; nothing is worked out. */
export async function reopenRun(): Promise<void> {
  const { recipe } = useProject.getState();
  if (!recipe || reopening || useRun.getState().status !== 'idle') return;
  reopening = reopen(recipe);
  await reopening;
  reopening = undefined;
}

async function reopen(recipe: Recipe): Promise<boolean> {
  const events: RunEvent[] = [];
  try {
    if (!(await engine().reopen(recipe, (event) => events.push(event)))) return false;
  } catch {
    // Nobody asked for it; a run of the recipe says what is wrong.
    return false;
  }
  if (useRun.getState().status === 'stopping') return false;
  begin(recipe, 'done');
  for (const event of events) takeEvent(event);
  flushProgress();
  useRun.setState({ status: 'done' });
  refreshMemory();
  return true;
}

function begin(recipe: Recipe, status: RunStatus): void {
  resetLosses();
  waiting = [];
  useRun.setState({ ...initial, status, recipe });
}

/** Runs the project's recipe from the start; finished stages come from the store. */
export async function startRun(): Promise<void> {
  const { recipe } = useProject.getState();
  if (!recipe || isActive(useRun.getState().status)) return;
  const mine = ++generation;
  begin(recipe, 'running');
  const found = reopening !== undefined && (await reopening);
  if (mine !== generation) return;
  if (useRun.getState().status === 'stopping') {
    useRun.setState({ status: 'stopped' });
    return;
  }
  if (found && useRun.getState().recipe === recipe) return;
  if (found) begin(recipe, 'running');
  try {
    const outcome = await engine().fuse(recipe, (event) => {
      if (mine === generation) takeEvent(event);
    });
    if (mine !== generation) return;
    flushProgress();
    useRun.setState(({ tasks }) => ({
      status: outcome,
      tasks: tasks.map((task) => endTask(task, outcome === 'done' ? 'done' : 'stopped')),
    }));
  } catch (error) {
    if (mine !== generation) return;
    const fault = toFault(error);
    // The page's banner speaks about a lost device.
    if (fault.code !== 'device-lost') notifyFault('The fusion stopped', error);
    useRun.setState(({ tasks }) => ({
      status: fault.code === 'cancelled' ? 'stopped' : 'failed',
      fault,
      tasks: tasks.map((task) => endTask(task, 'stopped')),
    }));
  }
  refreshMemory();
}

function endTask(task: RunTask, state: 'done' | 'stopped'): RunTask {
  return task.state === 'running' ? { ...task, state, secondsLeft: undefined } : task;
}

type Progress = Extract<RunEvent, { kind: 'progress' }>;

/** Progress may come every few milliseconds; the store hears of it once a frame, or before the next other event. */
let waiting: readonly Progress[] = [];
const progressPulse = createPulse();
progressPulse.subscribe(flushProgress);

function flushProgress(): void {
  const events = waiting;
  waiting = [];
  if (events.length > 0) {
    useRun.setState(({ tasks }) => ({ tasks: events.reduce<readonly RunTask[]>(withProgress, tasks) }));
  }
}

/** Folds one event of the worker into the store. */
export function takeEvent(event: RunEvent): void {
  if (event.kind === 'loss') {
    addLoss(event);
    const { targets } = useRun.getState();
    if (!targets.includes(event.target)) useRun.setState({ targets: [...targets, event.target] });
    return;
  }
  if (event.kind === 'progress') {
    waiting = [
      ...waiting.filter((other) => other.stage !== event.stage || other.label !== event.label),
      event,
    ];
    progressPulse.touch();
    return;
  }
  flushProgress();
  switch (event.kind) {
    case 'stage': {
      const { stage, label, cached } = event;
      useRun.setState(({ tasks }) => ({
        tasks: [
          ...tasks.map((task) => endTask(task, 'done')),
          {
            stage,
            label,
            cached,
            state: cached ? 'done' : 'running',
            done: 0,
            total: 0,
            secondsLeft: undefined,
          },
        ],
      }));
      return;
    }
    case 'note':
      useRun.setState(({ tasks }) => ({
        tasks: tasks.map((task, at) => (at === tasks.length - 1 ? { ...task, note: event.text } : task)),
      }));
      return;
    case 'reopened':
      // The page has heard of the loss; the engine has another device already.
      openDevice();
      return;
    case 'alignment':
      useRun.setState(({ summaries }) => ({
        summaries: { ...summaries, [event.summary.source]: event.summary },
      }));
      return;
    case 'merged':
      useRun.setState({ merged: true });
      loadMerge(useRun.getState().recipe);
      return;
    case 'report':
      useRun.setState({ report: event.report });
      return;
    case 'state':
      useRun.setState(({ status }) => (status === 'stopping' ? {} : { status: event.state }));
      return;
    case 'done':
      useRun.setState(({ tasks }) => ({ tasks: tasks.map((task) => endTask(task, 'done')) }));
      return;
    default:
      event satisfies never;
  }
}

/** The newest task of the same stage and label takes the numbers; progress without a task opens one. */
function withProgress(tasks: readonly RunTask[], event: Progress): readonly RunTask[] {
  const { stage, label, done, total, secondsLeft } = event;
  const at = tasks.findLastIndex((task) => task.stage === stage && task.label === label);
  const task: RunTask = {
    stage,
    label,
    cached: tasks[at]?.cached ?? false,
    state: total > 0 && done >= total ? 'done' : 'running',
    done,
    total,
    secondsLeft,
  };
  return at < 0 ? [...tasks, task] : tasks.with(at, task);
}

async function send(command: 'pause' | 'resume' | 'step' | 'stop'): Promise<void> {
  try {
    await engine().command(command);
  } catch (error) {
    notifyFault('The run did not take the command', error);
  }
}

export const pauseRun = () => send('pause');
export const resumeRun = () => send('resume');
/** One optimizer step of a paused run. */
export const stepRun = () => send('step');

/** Ends the run at its next safe place; what is finished stays. */
export async function stopRun(): Promise<void> {
  if (!isActive(useRun.getState().status)) return;
  useRun.setState({ status: 'stopping' });
  await send('stop');
}

/** Stops what runs and starts again with the recipe as it is now. */
export async function restartRun(): Promise<void> {
  if (isActive(useRun.getState().status)) {
    await stopRun();
    await new Promise<void>((resolve) => {
      if (!isActive(useRun.getState().status)) return resolve();
      const leave = useRun.subscribe(({ status }) => {
        if (isActive(status)) return;
        leave();
        resolve();
      });
    });
  }
  await startRun();
}
