import { beforeEach, describe, expect, test } from 'vitest';
import { createFakeEngine, quickScenario, type Scenario } from '../testing/fakeEngine.ts';
import { setEngine } from './client.ts';
import { openDevice } from './device.ts';
import { lossSeries } from './losses.ts';
import { useMerge } from './merge.ts';
import { useNotices } from './notices.ts';
import { editRecipe, loadProject, useProject } from './project.ts';
import { pauseRun, reopenRun, restartRun, resumeRun, startRun, stepRun, stopRun, useRun } from './run.ts';

async function setUp(scenario: Partial<Scenario> = {}) {
  setEngine(createFakeEngine({ ...quickScenario, ...scenario }));
  useNotices.setState({ notices: [] });
  useProject.setState(useProject.getInitialState());
  useRun.setState(useRun.getInitialState());
  useMerge.setState(useMerge.getInitialState());
  await openDevice();
  await loadProject();
  editRecipe('train.steps', 12);
}

const until = async (condition: () => boolean) => {
  for (let i = 0; i < 2000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(condition()).toBe(true);
};
const status = () => useRun.getState().status;
const points = () => lossSeries().reduce((sum, own) => sum + own.length, 0);

describe('a run', () => {
  beforeEach(() => setUp());

  test('goes through its stages and ends with a report, curves and a merge', async () => {
    await startRun();
    const { tasks, report, targets, summaries, merged, recipe } = useRun.getState();
    expect(status()).toBe('done');
    expect(targets).toEqual(['sft', ...useProject.getState().recipe!.sources]);
    expect(lossSeries().map((own) => own.length)).toEqual([12, 12, 12, 12]);
    expect(Object.keys(summaries)).toEqual(useProject.getState().recipe!.sources);
    expect(tasks.every((task) => task.state === 'done')).toBe(true);
    expect(report?.suites.length).toBeGreaterThan(0);
    expect(merged).toBe(true);
    expect(recipe).toBe(useProject.getState().recipe);
    await until(() => useMerge.getState().view !== undefined);
  });

  test('pauses, takes single steps, goes on', async () => {
    const run = startRun();
    await until(() => points() >= 3);
    await pauseRun();
    await until(() => status() === 'paused');
    const before = points();
    await stepRun();
    await until(() => points() === before + 1);
    await until(() => status() === 'paused');
    await resumeRun();
    await run;
    expect(status()).toBe('done');
  });

  test('stops for good, and a restart uses the recipe of the moment', async () => {
    const run = startRun();
    await until(() => points() >= 2);
    await stopRun();
    await run;
    expect(status()).toBe('stopped');
    expect(useRun.getState().tasks.some((task) => task.state === 'stopped')).toBe(true);
    editRecipe('train.steps', 3);
    await restartRun();
    expect(status()).toBe('done');
    expect(lossSeries().map((own) => own.length)).toEqual([3, 3, 3, 3]);
  });

  test('a restart waits for the run that it replaces', async () => {
    const first = startRun();
    await until(() => points() >= 2);
    editRecipe('train.steps', 2);
    await restartRun();
    await first;
    expect(status()).toBe('done');
    expect(lossSeries().map((own) => own.length)).toEqual([2, 2, 2, 2]);
  });
});

test('a failure is kept with its sentence and stays as a notice', async () => {
  await setUp({ failing: 'fuse' });
  editRecipe('train.steps', 60);
  await startRun();
  expect(status()).toBe('failed');
  expect(useRun.getState().fault).toMatchObject({ code: 'out-of-memory' });
  expect(useNotices.getState().notices).toHaveLength(1);
  expect(useNotices.getState().notices[0]?.message).toMatch(/smaller batch/);
});

describe('a finished run that is kept', () => {
  test('comes back by itself, with its report and its merge', async () => {
    await setUp({ kept: true });
    await reopenRun();
    const { report, merged, recipe, tasks, targets } = useRun.getState();
    expect(status()).toBe('done');
    expect(report?.recipe).toBe(recipe);
    expect([merged, targets]).toEqual([true, []]);
    expect(tasks.every((task) => task.state === 'done')).toBe(true);
    await until(() => useMerge.getState().view !== undefined);
    // Started again, it runs.
    await startRun();
    expect(points()).toBeGreaterThan(0);
  });

  test('is what a run becomes that is started meanwhile, but only one of the same recipe', async () => {
    await setUp({ kept: true, stepMs: 1 });
    reopenRun();
    await startRun();
    expect([status(), points()]).toEqual(['done', 0]);
    await setUp({ kept: true, stepMs: 1 });
    reopenRun();
    editRecipe('train.steps', 5);
    await startRun();
    expect([status(), points()]).toEqual(['done', 20]);
    expect(useRun.getState().recipe?.train.steps).toBe(5);
  });

  test('where there is none nothing is shown, and a run can start meanwhile or be stopped', async () => {
    await setUp({ stepMs: 1 });
    const looking = reopenRun();
    expect(status()).toBe('idle');
    await looking;
    expect([status(), useRun.getState().report]).toEqual(['idle', undefined]);
    reopenRun();
    const run = startRun();
    await stopRun();
    await run;
    expect([status(), points()]).toEqual(['stopped', 0]);
  });
});
