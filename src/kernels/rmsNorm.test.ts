import { describe, expect, test } from 'vitest';
import { runOnDevice, TEST_TUNINGS, testValues } from '../device/testing.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';
import { rmsNormBackwardReference, rmsNormReference } from './reference/rmsNorm.ts';
import { rmsNormBackward, rmsNormBackwardWeight, rmsNormForward } from './rmsNorm.ts';
import { normScratchBytes } from './rowNorm.ts';

const eps = 1e-5;
const shapes: [number, number][] = [
  [1, 16],
  [1, 2],
  [3, 3],
  [7, 17],
  [65, 33],
  [33, 64],
  [5, 129],
  [17, 576],
  [2, 1025],
  [3, 8192],
];

test('the reference gradients are the central differences', () => {
  const x = Float64Array.from(testValues(15, 1));
  const w = Float64Array.from(testValues(5, 2));
  const dy = testValues(15, 3);
  const loss = () => dotProduct(rmsNormReference(x, w, eps, 1).y, dy);
  const { dx, dw } = rmsNormBackwardReference(x, w, eps, 1, dy);
  expect(worstError(dx, centralDifferences(x, loss))).toBeLessThan(1e-8);
  expect(worstError(dw, centralDifferences(w, loss))).toBeLessThan(1e-8);
});

describe.each(TEST_TUNINGS)('tuned for %s', (tuning) => {
  test.each(shapes)('[%i, %i] agrees with the reference', async (rows, width) => {
    const x = testValues(rows * width, 1, 3);
    const w = testValues(width, 2);
    const residual = testValues(rows * width, 3);
    const dy = testValues(rows * width, 4);
    const before = testValues(rows * width, 5);
    const offset = width % 2 === 0 ? 1 : 0;
    const shape = { rows, width, eps, offset } as const;
    const out = await runOnDevice(
      {
        x,
        w,
        residual,
        dy,
        y: poisoned(rows * width),
        yr: poisoned(rows * width),
        rstd: poisoned(rows),
        dx: poisoned(rows * width),
        dxSum: before,
        dw: poisoned(width),
        dwSum: w,
        scratch: poisoned(normScratchBytes(shape) / 4),
      },
      (b) => [
        rmsNormForward({ x: b.x, w: b.w, y: b.y, rstd: b.rstd }, shape, tuning),
        rmsNormForward({ x: b.x, w: b.w, y: b.yr, rstd: b.rstd, residual: b.residual }, shape, tuning),
        rmsNormBackward({ x: b.x, w: b.w, rstd: b.rstd, dy: b.dy, dx: b.dx }, shape, false, tuning),
        rmsNormBackward({ x: b.x, w: b.w, rstd: b.rstd, dy: b.dy, dx: b.dxSum }, shape, true, tuning),
        ...rmsNormBackwardWeight(
          { x: b.x, rstd: b.rstd, dy: b.dy, dw: b.dw, scratch: b.scratch },
          shape,
          false,
        ),
        ...rmsNormBackwardWeight(
          { x: b.x, rstd: b.rstd, dy: b.dy, dw: b.dwSum, scratch: b.scratch },
          shape,
          true,
        ),
      ],
    );
    const want = rmsNormReference(x, w, eps, offset);
    const back = rmsNormBackwardReference(x, w, eps, offset, dy);
    expect(worstError(out.y, want.y)).toBeLessThan(2e-6);
    expect(worstError(out.rstd, want.rstd)).toBeLessThan(2e-6);
    expect(worstError(out.yr, rmsNormReference(x, w, eps, offset, residual).y)).toBeLessThan(2e-6);
    expect(worstError(out.dx, back.dx)).toBeLessThan(4e-6);
    expect(
      worstError(
        out.dxSum,
        back.dx.map((v, i) => v + before[i]!),
      ),
    ).toBeLessThan(4e-6);
    expect(worstError(out.dw, back.dw)).toBeLessThan(4e-6);
    expect(
      worstError(
        out.dwSum,
        back.dw.map((v, i) => v + w[i]!),
      ),
    ).toBeLessThan(4e-6);
  });

  test('a hundred thousand rows, more workgroups than one dimension holds', async () => {
    const [rows, width] = [100_003, 16];
    const x = testValues(rows * width, 1);
    const w = testValues(width, 2);
    const dy = testValues(rows * width, 4);
    const shape = { rows, width, eps, offset: 0 } as const;
    const out = await runOnDevice(
      {
        x,
        w,
        dy,
        y: poisoned(rows * width),
        rstd: poisoned(rows),
        dx: poisoned(rows * width),
        dw: poisoned(width),
        scratch: poisoned(normScratchBytes(shape) / 4),
      },
      (b) => [
        rmsNormForward(b, shape, tuning),
        rmsNormBackward(b, shape, false, tuning),
        ...rmsNormBackwardWeight(b, shape, false),
      ],
    );
    const back = rmsNormBackwardReference(x, w, eps, 0, dy);
    expect(worstError(out.y, rmsNormReference(x, w, eps, 0).y)).toBeLessThan(2e-6);
    expect(worstError(out.dx, back.dx)).toBeLessThan(4e-6);
    expect(worstError(out.dw, back.dw)).toBeLessThan(2e-5);
  });
});

test('a row of zeros stays finite', async () => {
  const shape = { rows: 1, width: 8, eps: 1e-6, offset: 0 } as const;
  const out = await runOnDevice(
    { x: new Float32Array(8), w: testValues(8), y: poisoned(8), rstd: poisoned(1) },
    (b) => [rmsNormForward(b, shape, 'software')],
  );
  expect(Array.from(out.y, Math.abs)).toEqual(new Array(8).fill(0));
  expect(out.rstd[0]).toBeCloseTo(1000, 2);
});
