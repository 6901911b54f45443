import { beforeEach, expect, test } from 'vitest';
import { addLoss, lossPulse, lossSeries, resetLosses } from './losses.ts';
import { createPulse } from './pulse.ts';

const point = (target: string, step: number, total: number) => ({
  target,
  step,
  total,
  supervised: total / 2,
  distillation: total / 4,
  learningRate: 1e-3,
});

beforeEach(resetLosses);

test('keeps every point of every target, in the order of the targets', () => {
  for (let step = 1; step <= 1000; step++) addLoss(point('sft', step, step));
  addLoss(point('a', 1, 7));
  const [sft, a] = lossSeries();
  expect(sft).toMatchObject({ target: 'sft', length: 1000 });
  expect(sft?.total[999]).toBe(1000);
  expect(sft?.supervised[499]).toBe(250);
  expect(a).toMatchObject({ target: 'a', length: 1 });
});

test('a resumed run overwrites the steps that it repeats', () => {
  for (let step = 1; step <= 40; step++) addLoss(point('sft', step, 1));
  for (let step = 26; step <= 30; step++) addLoss(point('sft', step, 2));
  const [sft] = lossSeries();
  expect(sft?.length).toBe(30);
  expect([...sft!.steps.slice(24, 30)]).toEqual([25, 26, 27, 28, 29, 30]);
  expect(sft?.total[24]).toBe(1);
  expect(sft?.total[25]).toBe(2);
});

test('a pulse tells its listeners once a frame, however often it is touched', () => {
  const frames: (() => void)[] = [];
  const pulse = createPulse((draw) => frames.push(draw));
  let heard = 0;
  const leave = pulse.subscribe(() => heard++);
  pulse.touch();
  pulse.touch();
  expect(frames).toHaveLength(1);
  frames[0]!();
  expect([heard, pulse.version()]).toEqual([1, 1]);
  pulse.touch();
  frames[1]!();
  leave();
  pulse.touch();
  frames[2]!();
  expect([heard, pulse.version()]).toEqual([2, 3]);
  expect(lossPulse.version()).toBeTypeOf('number');
});
