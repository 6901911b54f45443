import { expect, test } from 'vitest';
import { EventPacer } from './eventPacer.ts';
import type { RunEvent } from './protocol.ts';

const progress = (done: number, label = 'a', total = 1000): RunEvent => ({
  kind: 'progress',
  stage: 'represent',
  label,
  done,
  total,
  secondsLeft: undefined,
});

test('tells of progress at most twenty times a second, and always its end', () => {
  const told: RunEvent[] = [];
  let now = 0;
  const pacer = new EventPacer(
    (event) => told.push(event),
    () => now,
  );
  for (let done = 1; done <= 1000; done++) {
    now += 1;
    pacer.send(progress(done));
  }
  expect(told.length).toBeLessThanOrEqual(22);
  expect(told.length).toBeGreaterThanOrEqual(20);
  expect(told.at(-1)).toMatchObject({ done: 1000 });
});

test('other events are never held back and keep their place', () => {
  const told: RunEvent[] = [];
  const pacer = new EventPacer(
    (event) => told.push(event),
    () => 0,
  );
  const loss: RunEvent = {
    kind: 'loss',
    target: 'sft',
    step: 1,
    total: 9,
    supervised: 1,
    distillation: 0,
    learningRate: 1,
  };
  pacer.send(progress(1));
  pacer.send(progress(2));
  pacer.send(loss);
  pacer.send(progress(3));
  pacer.send({ kind: 'state', state: 'paused' });
  pacer.send(progress(4));
  pacer.send(progress(1, 'b'));
  pacer.send(progress(2, 'b'));
  pacer.flush();
  pacer.flush();
  expect(told.map((event) => ('done' in event ? `${event.label}${event.done}` : event.kind))).toEqual([
    'a1',
    'loss',
    'a3',
    'state',
    'a4',
    'b2',
  ]);
});
