import { expect, test } from 'vitest';
import { JobControl, type JobState } from './jobControl.ts';

function watched() {
  const states: JobState[] = [];
  return { states, control: new JobControl((state) => states.push(state)) };
}

test('says that it waits only once the job has come to a checkpoint', async () => {
  const { states, control } = watched();
  control.command('pause');
  expect(states).toEqual(['pausing']);
  expect(control.paused).toBe(true);
  const passed = control.checkpoint();
  expect(states).toEqual(['pausing', 'paused']);
  control.command('step');
  await passed;
  expect(states).toEqual(['pausing', 'paused', 'pausing']);
  const again = control.checkpoint();
  expect(states.at(-1)).toBe('paused');
  control.command('resume');
  await again;
  expect(states.at(-1)).toBe('running');
  await control.checkpoint();
});

test('steps that were asked for while one was under way are all taken', async () => {
  const { states, control } = watched();
  control.command('step');
  control.command('step');
  expect(control.paused).toBe(false);
  await control.checkpoint();
  await control.checkpoint();
  expect(states).toEqual(['pausing']);
  expect(control.paused).toBe(true);
});

test('a stop ends the job, also while it waits', async () => {
  const { control } = watched();
  control.command('pause');
  const waiting = control.checkpoint();
  control.command('stop');
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
  await expect(control.checkpoint()).rejects.toMatchObject({ code: 'cancelled' });
});
