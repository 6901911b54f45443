import { expect, test } from 'vitest';
import { openDawn } from './dawn.ts';
import { HostStopwatch, sharedTimes } from './stopwatch.ts';
import { SubmitClock } from './submitClock.ts';
import { WebGpuDevice } from './webGpuDevice.ts';

test('passes that the host heard of one by one have their own times, others share by what they do', () => {
  const pass = (work: number, submittedAt: number, doneAt: number) => ({ work, submittedAt, doneAt });
  expect(sharedTimes([])).toEqual([]);
  expect(sharedTimes([pass(1, 10, 30), pass(1, 12, 130), pass(1, 200, 210)])).toEqual([20, 100, 10]);
  expect(sharedTimes([pass(1, 10, 110), pass(3, 12, 110.5), pass(4, 12, 150.5)])).toEqual([
    25.125, 75.375, 40,
  ]);
});

test('a clock that stands still is replaced by what the host has seen', async () => {
  const device = await WebGpuDevice.open(await openDawn());
  const watch = device.stopwatch();
  // Passes that nobody writes timestamps for: the device's clock says 0 of all of them.
  for (const work of [1, 3]) {
    watch.next(work);
    watch.submitted(new Promise((resolve) => setTimeout(() => resolve(undefined), 60)));
  }
  const times = await watch.finish();
  expect(times[0]! + times[1]!).toBeGreaterThan(50);
  device.dispose();
});

test('more passes than a query set holds are timed', async () => {
  const device = await WebGpuDevice.open(await openDawn());
  const watch = device.stopwatch();
  const count = 3000;
  for (let pass = 0; pass < count; pass++) {
    const timestampWrites = watch.next(1);
    const encoder = device.gpu.createCommandEncoder();
    encoder.beginComputePass({ ...(timestampWrites && { timestampWrites }) }).end();
    device.submit(encoder.finish());
    watch.submitted(device.gpu.queue.onSubmittedWorkDone());
  }
  const times = await watch.finish();
  expect(times).toHaveLength(count);
  expect(times.every((ms) => ms >= 0 && ms < 1000)).toBe(true);
  device.check();
  device.dispose();
});

test('what a lost device leaves behind is not learnt', async () => {
  const watch = new HostStopwatch();
  watch.next(1);
  watch.submitted(Promise.reject(new Error('lost')));
  await expect(watch.finish()).rejects.toThrow('lost');
  const cost = { ms: undefined, measured: true };
  new SubmitClock(() => undefined).learn(
    [{ step: { grid: [1, 1, 1], turns: 1, cost }, base: [0, 0, 0], grid: [1, 1, 1], share: 1 }],
    [],
  );
  expect(cost).toEqual({ ms: undefined, measured: false });
});
