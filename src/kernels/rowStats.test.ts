import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { poisoned } from './reference/compare.ts';
import { massReference, rowReference } from './reference/rows.ts';
import { boundaryMass, markIds, rowStats } from './rowStats.ts';

const shapes = [
  [1, 1],
  [3, 7],
  [5, 257],
  [7, 1025],
  [3, 49_153],
] as const;

test.each(shapes)('statistics of %i rows of %i logits', async (rows, vocabulary) => {
  const logits = testValues(rows * vocabulary, rows, 9);
  const labels = Int32Array.from({ length: rows + 1 }, (_, r) =>
    r % 3 === 2 ? -100 : (r * 97) % vocabulary,
  );
  const out = await runOnDevice(
    {
      logits,
      labels,
      stats: poisoned((rows + 1) * 3),
      best: new Uint32Array(rows + 1).fill(77),
    },
    (b) => [rowStats(b, { rowStart: 1, chunkRows: rows, vocabulary })],
  );
  for (let row = 0; row < rows; row++) {
    const z = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    const want = rowReference(z);
    const label = labels[row + 1]!;
    const [max, lse, logProb] = out.stats.subarray((row + 1) * 3);
    expect(max).toBe(want.max);
    expect(Math.abs(lse! - want.lse)).toBeLessThan(2e-6 * Math.max(1, Math.abs(want.lse)));
    expect(Math.abs(logProb! - (label < 0 ? 0 : z[label]! - want.lse))).toBeLessThan(5e-6);
    expect(out.bits('best')[row + 1]).toBe(want.best);
  }
  expect(out.stats.subarray(0, 3).every(Number.isNaN)).toBe(true);
  expect(out.bits('best')[0]).toBe(77);
});

test('the lowest id wins among equal logits', async () => {
  const logits = new Float32Array(3000).fill(-1);
  for (const at of [2900, 1300, 777, 1801]) logits[at] = 4;
  const out = await runOnDevice(
    { logits, labels: Int32Array.of(0), stats: poisoned(3), best: new Uint32Array(1) },
    (b) => [rowStats(b, { rowStart: 0, chunkRows: 1, vocabulary: 3000 })],
  );
  expect(out.bits('best')[0]).toBe(777);
});

test.each(shapes)('the mass of a marked set in %i rows of %i logits', async (rows, vocabulary) => {
  const logits = testValues(rows * vocabulary, rows + 3, 9);
  const ids = Array.from({ length: vocabulary }, (_, j) => j).filter((j) => j % 7 === 0 || j % 33 === 32);
  const out = await runOnDevice(
    { logits, marks: markIds(ids, vocabulary), mass: poisoned(rows + 2) },
    (b) => [boundaryMass(b, { rowStart: 2, chunkRows: rows, vocabulary })],
  );
  for (let row = 0; row < rows; row++) {
    const want = massReference(logits.subarray(row * vocabulary, (row + 1) * vocabulary), ids);
    expect(Math.abs(out.mass[row + 2]! - want)).toBeLessThan(3e-6 * want);
  }
});
