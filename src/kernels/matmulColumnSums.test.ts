import { test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { columnSums } from './matmulColumnSums.ts';
import { expectClose, nans, norm } from './matmulTesting.ts';
import { columnSumsReference } from './reference/matmul.ts';

test('columnSums adds rows, replaces or accumulates, and reads columns of wider rows', async () => {
  for (const [m, n] of [
    [1, 1],
    [3, 17],
    [33, 16],
    [1000, 65],
  ] as const) {
    const dy = testValues(m * n, 1);
    const wide = testValues(m * (n + 7), 2);
    const before = testValues(n, 3);
    const out = await runOnDevice({ dy, wide, db: nans(n), sum: before }, (b) => [
      columnSums({ dy: b.dy, db: b.db }, { m, n }),
      columnSums({ dy: b.wide, db: b.sum }, { m, n, dy: { stride: n + 7, offset: 5 }, accumulate: true }),
    ]);
    const cut = Float32Array.from(
      { length: m * n },
      (_, at) => wide[Math.floor(at / n) * (n + 7) + 5 + (at % n)]!,
    );
    const sums = columnSumsReference(cut, m, n).map((sum, at) => sum + before[at]!);
    expectClose(
      out.db,
      columnSumsReference(dy, m, n),
      () => 1,
      (j) => norm(dy, j, n, m),
      n,
      m,
    );
    expectClose(
      out.sum,
      sums,
      () => 1,
      (j) => norm(cut, j, n, m),
      n,
      m,
      1,
    );
  }
});
