import { describe, expect, test } from 'vitest';
import { runOnDevice, TEST_TUNINGS, testValues } from '../device/testing.ts';
import { layerNormBackward, layerNormBackwardWeight, layerNormForward } from './layerNorm.ts';
import { columnSums } from './matmulColumnSums.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';
import { layerNormBackwardReference, layerNormReference } from './reference/layerNorm.ts';
import { normScratchBytes } from './rowNorm.ts';

const eps = 1e-5;
const shapes: [number, number][] = [
  [1, 16],
  [1, 3],
  [3, 3],
  [7, 17],
  [65, 33],
  [33, 64],
  [5, 129],
  [17, 576],
  [2, 1025],
  [3, 4099],
];

test('the reference gradients are the central differences', () => {
  const x = Float64Array.from(testValues(15, 1));
  const w = Float64Array.from(testValues(5, 2));
  const b = Float64Array.from(testValues(5, 3));
  const dy = testValues(15, 4);
  const loss = () => dotProduct(layerNormReference(x, w, eps, { b }).y, dy);
  const { dx, dw, db } = layerNormBackwardReference(x, w, eps, dy);
  expect(worstError(dx, centralDifferences(x, loss))).toBeLessThan(1e-8);
  expect(worstError(dw, centralDifferences(w, loss))).toBeLessThan(1e-8);
  expect(worstError(db, centralDifferences(b, loss))).toBeLessThan(1e-8);
});

describe.each(TEST_TUNINGS)('tuned for %s', (tuning) => {
  test.each(shapes)('[%i, %i] agrees with the reference', async (rows, width) => {
    const count = rows * width;
    // Rows away from 0, as after embeddings with learned positions.
    const x = testValues(count, 1, 3).map((value, at) => value + Math.floor(at / width) - 1);
    const [w, b] = [testValues(width, 2), testValues(width, 3)];
    const [residual, dy, before] = [testValues(count, 4), testValues(count, 5), testValues(count, 6)];
    const shape = { rows, width, eps };
    const out = await runOnDevice(
      {
        x,
        w,
        b,
        residual,
        dy,
        y: poisoned(count),
        stats: poisoned(2 * rows),
        dx: poisoned(count),
        dxSum: before,
        dw: poisoned(width),
        dwSum: w,
        db: poisoned(width),
        scratch: poisoned(normScratchBytes(shape) / 4),
      },
      ({ dxSum, dwSum, ...all }) => [
        layerNormForward(all, shape, tuning),
        layerNormBackward(all, shape, false, tuning),
        layerNormBackward({ ...all, dx: dxSum }, shape, true, tuning),
        ...layerNormBackwardWeight(all, shape, false),
        ...layerNormBackwardWeight({ ...all, dw: dwSum }, shape, true),
        columnSums(all, { m: rows, n: width }),
      ],
    );
    const want = layerNormReference(x, w, eps, { b, residual });
    const back = layerNormBackwardReference(x, w, eps, dy);
    const plus = (a: ArrayLike<number>, c: ArrayLike<number>) =>
      Array.from(a, (value, i) => value + (c[i] ?? Number.NaN));
    expect(worstError(out.y, want.y)).toBeLessThan(3e-6);
    expect(worstError(out.stats, want.stats)).toBeLessThan(3e-6);
    expect(worstError(out.dx, back.dx)).toBeLessThan(5e-6);
    expect(worstError(out.dxSum, plus(back.dx, before))).toBeLessThan(5e-6);
    expect(worstError(out.dw, back.dw)).toBeLessThan(5e-6);
    expect(worstError(out.dwSum, plus(back.dw, w))).toBeLessThan(5e-6);
    expect(worstError(out.db, back.db)).toBeLessThan(5e-6);
  });

  test('without a bias; rows far from 0 keep their digits', async () => {
    const [rows, width] = [5, 70];
    const x = testValues(rows * width, 1).map((value) => value + 1000);
    const w = testValues(width, 2);
    const out = await runOnDevice({ x, w, y: poisoned(x.length), stats: poisoned(2 * rows) }, (all) => [
      layerNormForward(all, { rows, width, eps }, tuning),
    ]);
    expect(worstError(out.y, layerNormReference(x, w, eps).y)).toBeLessThan(1e-3);
  });

  test('a hundred thousand rows, more workgroups than one dimension holds', async () => {
    const [rows, width] = [70_003, 4];
    const [x, w, dy] = [testValues(rows * width, 1), testValues(width, 2), testValues(rows * width, 4)];
    const shape = { rows, width, eps };
    const out = await runOnDevice(
      { x, w, dy, y: poisoned(x.length), stats: poisoned(2 * rows), dx: poisoned(x.length) },
      (all) => [layerNormForward(all, shape, tuning), layerNormBackward(all, shape, false, tuning)],
    );
    expect(worstError(out.y, layerNormReference(x, w, eps).y)).toBeLessThan(3e-6);
    expect(worstError(out.dx, layerNormBackwardReference(x, w, eps, dy).dx)).toBeLessThan(5e-6);
  });
});

test('a constant row stays finite', async () => {
  const x = new Float32Array(8).fill(7);
  const out = await runOnDevice({ x, w: testValues(8), y: poisoned(8), stats: poisoned(2) }, (all) => [
    layerNormForward(all, { rows: 1, width: 8, eps: 1e-6 }, 'gpu'),
  ]);
  expect(Array.from(out.y, Math.abs)).toEqual(new Array(8).fill(0));
});
