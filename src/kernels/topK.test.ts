import { describe, expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { poisoned } from './reference/compare.ts';
import { topKReference } from './reference/rows.ts';
import { topK } from './topK.ts';

async function check(logits: Float32Array<ArrayBuffer>, rows: number, kept: number): Promise<void> {
  const vocabulary = logits.length / rows;
  const out = await runOnDevice(
    { logits, ids: new Uint32Array((rows + 1) * kept).fill(5), logProbs: poisoned((rows + 1) * kept) },
    (b) => [topK(b, { rowStart: 1, chunkRows: rows, vocabulary }, kept)],
  );
  const ids = out.bits('ids');
  for (let row = 0; row < rows; row++) {
    const want = topKReference(logits.subarray(row * vocabulary, (row + 1) * vocabulary), kept);
    const at = (row + 1) * kept;
    expect([...ids.subarray(at, at + want.ids.length)]).toEqual(want.ids);
    want.logProbs.forEach((value, e) => {
      expect(Math.abs(out.logProbs[at + e]! - value)).toBeLessThan(2e-6 * Math.max(1, Math.abs(value)));
    });
    for (let e = want.ids.length; e < kept; e++) {
      expect(ids[at + e]).toBe(0xffff_ffff);
      expect(Math.exp(out.logProbs[at + e]!)).toBe(0);
    }
  }
  expect([...ids.subarray(0, kept)]).toEqual(new Array(kept).fill(5));
}

describe('random logits', () => {
  test.each([
    [1, 1, 1],
    [3, 5, 8],
    [2, 33, 33],
    [5, 255, 10],
    [3, 257, 64],
    [7, 1031, 32],
    [3, 49_157, 64],
    [2, 262_144, 10],
  ])('%i rows of %i, top %i', async (rows, vocabulary, kept) => {
    await check(testValues(rows * vocabulary, vocabulary, 12), rows, kept);
  });
});

describe('rows built against the bound', () => {
  test('equal logits: the lowest ids', async () => {
    await check(new Float32Array(2 * 5000).fill(-0.5), 2, 40);
    await check(new Float32Array(200), 1, 64);
  });

  test('the largest logits all belong to one thread', async () => {
    const logits = testValues(60_000, 5);
    for (let i = 0; i < 200; i++) logits[17 + 256 * i] = 50 + (i % 11);
    await check(logits, 1, 64);
  });

  test('coarse logits with many ties, both zeros, and far below zero', async () => {
    const coarse = testValues(9001, 8).map((x) => Math.round(x * 3) / 3);
    await check(coarse, 1, 64);
    await check(
      Float32Array.from({ length: 700 }, (_, j) => (j % 2 ? -0 : 0)),
      1,
      9,
    );
    await check(
      testValues(4096, 9).map((x) => x - 1e4),
      1,
      16,
    );
  });
});
