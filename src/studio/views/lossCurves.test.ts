import { beforeEach, describe, expect, test } from 'vitest';
import { addLoss, lossSeries, resetLosses } from '../state/losses.ts';
import { binSteps, brokenSteps, curveTable, smoothed, valueAt } from './lossCurves.ts';

beforeEach(resetLosses);

function feed(target: string, values: readonly number[], first = 1) {
  values.forEach((total, index) => {
    addLoss({ target, step: first + index, total, supervised: total, distillation: 0, learningRate: 1 });
  });
}

describe('smoothing', () => {
  test('a constant stays where it is from the first step on', () => {
    expect([...smoothed([2, 2, 2, 2], 4, 0.9)]).toEqual(
      [2, 2, 2, 2].map((value) => expect.closeTo(value, 12)),
    );
  });

  test('none leaves the values, and a broken value leaves the average', () => {
    expect([...smoothed([3, 1, 2], 3, 0)]).toEqual([3, 1, 2]);
    const [first, second, third] = smoothed([4, Number.NaN, 4], 3, 0.5);
    expect([first, second, third]).toEqual([4, 4, 4]);
  });

  test('two values by hand: (0.1·0.9·1 + 0.1·2) / (1 − 0.81)', () => {
    expect(smoothed([1, 2], 2, 0.9)[1]).toBeCloseTo((0.09 + 0.2) / 0.19, 12);
  });
});

describe('curveTable', () => {
  test('every target on one axis, nothing where it has no step', () => {
    feed('sft', [5, 4, 3]);
    feed('a', [9]);
    const { x, raw } = curveTable(lossSeries(), 'total', 0);
    expect(x).toEqual([0, 1, 2, 3]);
    expect(raw).toEqual([
      [null, 5, 4, 3],
      [null, 9, null, null],
    ]);
  });

  test('long runs are thinned to the lowest and highest of a bin, and old bins stand still', () => {
    const values = Array.from({ length: 2000 }, (_, i) => Math.sin(i * 12.9898) * 3);
    feed('sft', values);
    expect(binSteps(2000)).toBe(4);
    const { x, raw } = curveTable(lossSeries(), 'total', 0.9);
    expect(x.length).toBeLessThanOrEqual(1202);
    const bin = 100;
    const inside = values.slice(4 * bin - 1, 4 * bin + 3);
    expect([raw[0]?.[2 * bin], raw[0]?.[2 * bin + 1]]).toEqual([Math.min(...inside), Math.max(...inside)]);
    feed('sft', [0.5], 2001);
    expect(curveTable(lossSeries(), 'total', 0.9).raw[0]?.slice(0, 900)).toEqual(raw[0]?.slice(0, 900));
  });

  test('nothing yet, and values that are not finite', () => {
    expect(curveTable([], 'total', 0.5)).toEqual({ x: [], raw: [], smooth: [] });
    feed('sft', [1, Number.NaN, Number.POSITIVE_INFINITY, 2]);
    const { raw } = curveTable(lossSeries(), 'total', 0);
    expect(raw[0]).toEqual([null, 1, null, null, 2]);
    expect(brokenSteps(lossSeries())).toBe(2);
  });
});

test('the value under the crosshair is that of the step or the last before it', () => {
  feed('sft', [5, 4, 3], 10);
  const [sft] = lossSeries();
  expect(valueAt(sft!, 'total', 11)).toBe(4);
  expect(valueAt(sft!, 'total', 99)).toBe(3);
  expect(valueAt(sft!, 'total', undefined)).toBe(3);
  expect(valueAt(sft!, 'total', 9)).toBeUndefined();
});
