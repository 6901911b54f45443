import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MergeTable, mergeSymbols } from './tokenizerMerges.ts';

/** The definition: merge the leftmost pair of the lowest rank until there is none. */
function mergeSlowly(symbols: readonly number[], table: MergeTable): number[] {
  const list = [...symbols];
  for (;;) {
    let best = -1;
    let bestAt = -1;
    for (let i = 0; i + 1 < list.length; i++) {
      const rank = table.find(list[i]!, list[i + 1]!);
      if (rank >= 0 && (best < 0 || rank < best)) [best, bestAt] = [rank, i];
    }
    if (bestAt < 0) return list;
    list.splice(bestAt, 2, table.result(best));
  }
}

test('merging is that of the definition', () => {
  const id = fc.nat(6);
  const rules = fc.array(fc.tuple(id, id, fc.nat(9)), { maxLength: 25 });
  fc.assert(
    fc.property(rules, fc.array(id, { maxLength: 40 }), (merges, symbols) => {
      const table = new MergeTable(merges.length);
      for (const [left, right, merged] of merges) table.add(left, right, merged);
      expect(mergeSymbols(symbols, table)).toEqual(mergeSlowly(symbols, table));
    }),
    { numRuns: 1000, seed: 9 },
  );
});

test('a long run takes no quadratic time', () => {
  const table = new MergeTable(1);
  table.add(1, 1, 2);
  const started = performance.now();
  expect(mergeSymbols(new Array(200_000).fill(1), table).length).toBe(100_000);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test('an empty table finds nothing', () => {
  expect(new MergeTable(0).find(1, 2)).toBe(-1);
  expect(mergeSymbols([1, 2, 3], new MergeTable(0))).toEqual([1, 2, 3]);
});
