import { describe, expect, test } from 'vitest';
import { BatchOrder, learningRate, microBatches, stepCount } from './schedule.ts';

describe('learning rate', () => {
  const schedule = { peak: 2e-4, steps: 100, warmup: 0.1 };

  test('rises in a line, falls along half a cosine, never wastes a step', () => {
    expect(learningRate(0, schedule)).toBeCloseTo(2e-5, 12);
    expect(learningRate(9, schedule)).toBeCloseTo(2e-4, 12);
    expect(learningRate(10, schedule)).toBeCloseTo(2e-4, 12);
    expect(learningRate(55, schedule)).toBeCloseTo(1e-4, 12);
    expect(learningRate(99, schedule)).toBeGreaterThan(0);
    expect(learningRate(100, schedule)).toBeCloseTo(0, 12);
    for (let step = 10; step < 99; step++) {
      expect(learningRate(step + 1, schedule)).toBeLessThan(learningRate(step, schedule));
    }
  });

  test('short runs and odd shares stay finite', () => {
    for (const warmup of [0, 0.03, 0.5, 1]) {
      for (const steps of [1, 2, 3]) {
        for (let step = 0; step < steps; step++) {
          const rate = learningRate(step, { peak: 1, steps, warmup });
          expect(rate).toBeGreaterThan(0);
          expect(rate).toBeLessThanOrEqual(1);
        }
      }
    }
  });
});

describe('order of the data', () => {
  const order = { conversations: 10, batch: 4, seed: 7 };

  test('every epoch has every conversation once, in another order, without a seam', () => {
    const batches = new BatchOrder(order);
    const stream = Array.from({ length: 5 }, (_, step) => [...batches.at(step)]).flat();
    const [first, second] = [stream.slice(0, 10), stream.slice(10, 20)];
    const all = [...Array(10).keys()];
    expect([...first].sort((a, b) => a - b)).toEqual(all);
    expect([...second].sort((a, b) => a - b)).toEqual(all);
    expect(first).not.toEqual(all);
    expect(first).not.toEqual(second);
  });

  test('depends on the seed and the step alone, so a run resumes from a number', () => {
    const straight = new BatchOrder(order);
    const all = Array.from({ length: 12 }, (_, step) => [...straight.at(step)]);
    expect([...new BatchOrder(order).at(7)]).toEqual(all[7]);
    expect([...straight.at(0)]).toEqual(all[0]);
    expect([...new BatchOrder({ ...order, seed: 8 }).at(0)]).not.toEqual(all[0]);
  });

  test('a batch may be larger than the data', () => {
    const batch = new BatchOrder({ conversations: 3, batch: 7, seed: 1 }).at(0);
    const counts = [0, 1, 2].map((index) => batch.filter((one) => one === index).length);
    expect(batch.length).toBe(7);
    expect(Math.min(...counts)).toBe(2);
  });

  test('steps: told, or enough for the epochs', () => {
    expect(stepCount(order, { epochs: 3 })).toBe(8);
    expect(stepCount(order, { epochs: 0.01 })).toBe(1);
    expect(stepCount(order, { epochs: 3, steps: 5 })).toBe(5);
    expect(() => stepCount({ conversations: 0, batch: 4 }, { epochs: 3 })).toThrow(/train\.maxTokens/);
  });

  test('micro-batches group similar lengths and lose nothing', () => {
    const groups = microBatches(Uint32Array.of(3, 1, 0, 2, 4), [5, 50, 40, 6, 41], 2);
    expect(groups.map((group) => [...group])).toEqual([[1, 4], [2, 3], [0]]);
  });
});
