import { describe, expect, test } from 'vitest';
import { runOnDevice, TEST_TUNING, testValues } from '../device/testing.ts';
import { matmulNN, matmulNT, matmulTN } from './matmul.ts';
import type { Strategy } from './matmulStrategy.ts';
import { DIRECT, expectClose, nans, norm, Q4, TILE, weightMatrix } from './matmulTesting.ts';
import { matmulNNReference, matmulNTReference, matmulTNReference } from './reference/matmul.ts';

const VECTOR: Strategy = { kind: 'vector', threadRows: 4, threadCols: 2, lanes: 16, teams: 2 };

describe('epilogue', () => {
  const [m, n, k] = [9, 12, 20];
  const x = testValues(m * k, 1);
  const w = weightMatrix(n, k, Q4);
  const columnScale = testValues(5, 6);
  /** columnScale[1 + floor(n / 4)] */
  const spread = Float32Array.from({ length: n }, (_, at) => columnScale[1 + Math.floor(at / 4)]!);
  const scale = { scaleOffset: 1, scaleGroup: 4 };
  const both: Strategy[] = [TILE, DIRECT];

  test.each([...both, VECTOR].map((strategy) => [strategy.kind, strategy] as const))(
    'NT adds scale, bias, residual and what was there: %s',
    async (_, strategy) => {
      const bias = testValues(n, 7);
      const residual = testValues(m * n, 8);
      const before = testValues(m * n, 9);
      const out = await runOnDevice(
        { ...w.arrays, x, bias, residual, columnScale, y: before, z: before },
        (b) => [
          matmulNT(
            {
              x: b.x!,
              weight: w.operand(b),
              y: b.y!,
              bias: b.bias,
              residual: b.residual,
              columnScale: b.columnScale,
            },
            { m, n, k, ...scale, accumulate: true, strategy },
            TEST_TUNING,
          ),
          matmulNT(
            { x: b.x!, weight: w.operand(b), y: b.z!, bias: b.bias },
            { m, n, k, alpha: -2, strategy },
            TEST_TUNING,
          ),
        ],
      );
      const wanted = matmulNTReference(x, w.values, m, n, k, { bias, residual, columnScale: spread });
      for (let at = 0; at < wanted.length; at++) wanted[at] = wanted[at]! + before[at]!;
      const rows = (i: number) => norm(x, i * k, 1, k);
      const cols = (j: number) => norm(w.values, j * k, 1, k);
      expectClose(out.y!, wanted, rows, cols, n, k, 3);
      const scaled = matmulNTReference(x, w.values, m, n, k, {
        bias,
        columnScale: new Float32Array(n).fill(-2),
      });
      expectClose(out.z!, scaled, (i) => 2 * rows(i), cols, n, k, 1);
    },
  );

  test.each(both.map((strategy) => [strategy.kind, strategy] as const))(
    'NN and TN apply the scale to the columns of dY and accumulate: %s',
    async (_, strategy) => {
      const dy = testValues(m * n, 3);
      const dxBefore = testValues(m * k, 4);
      const dwBefore = testValues(n * k, 5);
      const shape = { m, n, k, ...scale, accumulate: true, strategy };
      const out = await runOnDevice({ ...w.arrays, x, dy, columnScale, dx: dxBefore, dw: dwBefore }, (b) => [
        matmulNN(
          { dy: b.dy!, weight: w.operand(b), dx: b.dx!, columnScale: b.columnScale },
          shape,
          TEST_TUNING,
        ),
        matmulTN(
          { dy: b.dy!, x: b.x!, dw: b.dw!, columnScale: b.columnScale },
          { ...shape, alpha: 3 },
          TEST_TUNING,
        ),
      ]);
      const dx = matmulNNReference(dy, w.values, m, n, k, { columnScale: spread });
      const dw = matmulTNReference(dy, x, m, n, k, { columnScale: spread, alpha: 3 });
      for (let at = 0; at < dx.length; at++) dx[at] = dx[at]! + dxBefore[at]!;
      for (let at = 0; at < dw.length; at++) dw[at] = dw[at]! + dwBefore[at]!;
      expectClose(
        out.dx!,
        dx,
        (i) => norm(dy, i * n, 1, n),
        (j) => norm(w.values, j, k, n),
        k,
        n,
        1,
      );
      expectClose(
        out.dw!,
        dw,
        (i) => 3 * norm(dy, i, n, m),
        (j) => norm(x, j, k, m),
        k,
        m,
        1,
      );
    },
  );

  /** Two heads write into columns of one logits buffer and read them back. */
  test.each([
    ['tiled', 24, 12, TILE],
    ['direct', 24, 12, DIRECT],
    ['direct', 19, 5, DIRECT],
  ] as const)(
    'reads and writes columns of wider rows: %s stride %i offset %i',
    async (_, stride, offset, strategy) => {
      const wide = testValues(m * stride, 10);
      const columns = { stride, offset };
      const cut = Float32Array.from(
        { length: m * n },
        (_, at) => wide[Math.floor(at / n) * stride + offset + (at % n)]!,
      );
      const xWide = new Float32Array(m * (k + 4)).fill(Number.NaN);
      for (let at = 0; at < m * k; at++) xWide[Math.floor(at / k) * (k + 4) + 4 + (at % k)] = x[at]!;
      const xColumns = { stride: k + 4, offset: 4 };
      const out = await runOnDevice(
        { ...w.arrays, x: xWide, wide, y: wide, dx: nans(m * (k + 4)), dw: nans(n * k) },
        (b) => [
          matmulNT(
            { x: b.x!, weight: w.operand(b), y: b.y!, residual: b.wide },
            { m, n, k, x: xColumns, y: columns, residual: columns, strategy },
            TEST_TUNING,
          ),
          matmulNN(
            { dy: b.wide!, weight: w.operand(b), dx: b.dx! },
            { m, n, k, dy: columns, dx: xColumns, strategy },
            TEST_TUNING,
          ),
          matmulTN(
            { dy: b.wide!, x: b.x!, dw: b.dw! },
            { m, n, k, dy: columns, x: xColumns, strategy },
            TEST_TUNING,
          ),
        ],
      );
      const rows = (i: number) => norm(x, i * k, 1, k);
      const y = Float32Array.from(
        { length: m * n },
        (_, at) => out.y![Math.floor(at / n) * stride + offset + (at % n)]!,
      );
      expectClose(
        y,
        matmulNTReference(x, w.values, m, n, k, { residual: cut }),
        rows,
        (j) => norm(w.values, j * k, 1, k),
        n,
        k,
        1,
      );
      for (let at = 0; at < wide.length; at++) {
        const column = at % stride;
        if (column < offset || column >= offset + n) expect(out.y![at]).toBe(wide[at]);
      }
      const dx = Float32Array.from(
        { length: m * k },
        (_, at) => out.dx![Math.floor(at / k) * (k + 4) + 4 + (at % k)]!,
      );
      expectClose(
        dx,
        matmulNNReference(cut, w.values, m, n, k),
        (i) => norm(cut, i * n, 1, n),
        (j) => norm(w.values, j, k, n),
        k,
        n,
      );
      for (let row = 0; row < m; row++)
        expect(out.dx!.subarray(row * (k + 4), row * (k + 4) + 4)).toEqual(nans(4));
      expectClose(
        out.dw!,
        matmulTNReference(cut, x, m, n, k),
        (i) => norm(cut, i, n, m),
        (j) => norm(x, j, k, m),
        k,
        m,
      );
    },
  );
});
