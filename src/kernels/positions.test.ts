import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { type PositionsShape, positionsBackward, positionsForward } from './positions.ts';
import { poisoned, worstError } from './reference/compare.ts';

const shapes: [string, PositionsShape, number][] = [
  ['one row', { rows: 1, tokens: 1, width: 1, positions: 1 }, 0],
  ['two sequences', { rows: 34, tokens: 17, width: 33, positions: 40 }, 0],
  ['every position', { rows: 21, tokens: 7, width: 5, positions: 7 }, 0],
  ['padding beyond the last position', { rows: 24, tokens: 12, width: 7, positions: 9 }, 0],
  ['a stretch with a cache', { rows: 6, tokens: 6, width: 65, positions: 40 }, 31],
];

test.each(shapes)('%s', async (_, shape, start) => {
  const { rows, tokens, width, positions } = shape;
  const x = testValues(rows * width, 1);
  const table = testValues(positions * width, 2);
  const dy = testValues(rows * width, 3);
  const out = await runOnDevice(
    { x, table, dy, state: Uint32Array.of(start, 0), y: poisoned(rows * width), dtable: table },
    ({ state, ...b }) => [
      positionsForward(start > 0 ? { ...b, state } : b, shape),
      positionsBackward(b, shape),
    ],
  );
  const want = Float64Array.from(x);
  const gradient = Float64Array.from(table);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < width; j++) {
      const position = Math.min((row % tokens) + start, positions - 1);
      want[row * width + j]! += table[position * width + j]!;
      const own = Math.min(row % tokens, positions - 1);
      gradient[own * width + j]! += dy[row * width + j]!;
    }
  }
  expect(worstError(out.y, want)).toBeLessThan(1e-6);
  expect(worstError(out.dtable, gradient)).toBeLessThan(2e-6);
});
