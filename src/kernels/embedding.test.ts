import { describe, expect, test } from 'vitest';
import { runOnDevice, TEST_TUNINGS, testValues } from '../device/testing.ts';
import { embeddingBackward, embeddingForward, tokenSegments, tokenSegmentWords } from './embedding.ts';
import { packMatrix } from './quantize.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';
import { embeddingBackwardReference, embeddingReference } from './reference/embedding.ts';
import { formatName, rowGroups, rowWords, unpack, type WeightFormat } from './weightFormat.ts';

const formats: WeightFormat[] = [
  { kind: 'f32' },
  { kind: 'f16' },
  { kind: 'affine', bits: 4, group: 32, scales: 'f16' },
  { kind: 'affine', bits: 4, group: 32, scales: 'f32' },
  { kind: 'affine', bits: 8, group: 16, scales: 'f32' },
  { kind: 'affine', bits: 8, group: 32, scales: 'f16' },
];

/** Tokens with repeats, one of them in a third of the rows. */
function someTokens(rows: number, vocabulary: number): Uint32Array<ArrayBuffer> {
  const draws = testValues(rows, 9);
  return Uint32Array.from(draws, (v, r) =>
    r % 3 === 0 ? 2 : Math.floor(((v + 1) / 2) * vocabulary * 0.999),
  );
}

test('the reference gradient is the central differences', () => {
  const table = Float64Array.from(testValues(12, 1));
  const tokens = Uint32Array.of(1, 3, 1, 0);
  const dy = testValues(12, 2);
  const loss = () => dotProduct(embeddingReference(table, 3, tokens, 1.5), dy);
  const got = embeddingBackwardReference(dy, 3, tokens, 4, 1.5);
  expect(worstError(got, centralDifferences(table, loss))).toBeLessThan(1e-9);
});

describe('tokenSegments', () => {
  test('lists the rows of every token in order', () => {
    const words = Array.from(tokenSegments([7, 2, 7, 0, 2, 7]));
    expect(words.slice(0, 4)).toEqual([3, 0, 2, 7]);
    expect(words.slice(7, 11)).toEqual([0, 1, 3, 6]);
    expect(words.slice(14)).toEqual([3, 1, 4, 0, 2, 5]);
    expect(words.length).toBe(tokenSegmentWords(6));
  });

  test('takes one row, and none', () => {
    expect(Array.from(tokenSegments([4_000_000_000]))).toEqual([1, 4_000_000_000, 0, 1, 0]);
    expect(Array.from(tokenSegments([]))).toEqual([0, 0]);
  });
});

describe.each(formats.map((format) => [formatName(format), format] as const))(
  'a table in %s',
  (_, format) => {
    test.each([
      [1, 5, 1],
      [17, 33, 40],
      [65, 64, 11],
      [130, 7, 300],
    ])('%i rows of width %i from %i tokens, in two chunks', async (rows, width, vocabulary) => {
      const packed = packMatrix(testValues(vocabulary * width, 3), vocabulary, width, format);
      const tokens = someTokens(rows, Math.max(vocabulary, 3)).map((t) => Math.min(t, vocabulary - 1));
      const first = Math.ceil(vocabulary / 2);
      const chunks = [
        { rowStart: 0, rowCount: first },
        { rowStart: first, rowCount: vocabulary - first },
      ].filter((chunk) => chunk.rowCount > 0);
      let y = poisoned(rows * width);
      for (const chunk of chunks) {
        const end = chunk.rowStart + chunk.rowCount;
        const words = rowWords(format, width);
        const pairs = packed.scales ? packed.scales.length / vocabulary : 0;
        const shape = { rows, width, scale: 1.5, ...chunk };
        const out = await runOnDevice(
          {
            tokens,
            w: packed.data.slice(chunk.rowStart * words, end * words),
            scales: packed.scales?.slice(chunk.rowStart * pairs, end * pairs) ?? new Uint32Array(1),
            y,
          },
          ({ tokens, w, scales, y }) => [
            embeddingForward(packed.scales ? { tokens, w, scales, y } : { tokens, w, y }, shape, format),
          ],
        );
        y = out.y;
      }
      expect(rowGroups(format, width) > 0).toBe(packed.scales !== undefined);
      expect(worstError(y, embeddingReference(unpack(packed), width, tokens, 1.5))).toBeLessThan(3e-7);
    });
  },
);

describe.each(TEST_TUNINGS)('gradient, tuned for %s', (tuning) => {
  test.each([
    [1, 5, 4],
    [17, 33, 40],
    [65, 64, 11],
    [300, 130, 9],
  ])('%i rows of width %i into %i tokens, in two chunks', async (rows, width, vocabulary) => {
    const tokens = someTokens(rows, vocabulary);
    const dy = testValues(rows * width, 2);
    const before = testValues(vocabulary * width, 4);
    const first = Math.ceil(vocabulary / 2);
    const [low, high] = [
      { rows, width, scale: 0.5, rowStart: 0, rowCount: first },
      { rows, width, scale: 0.5, rowStart: first, rowCount: vocabulary - first },
    ];
    const out = await runOnDevice(
      {
        dy,
        segments: tokenSegments(tokens),
        low: poisoned(first * width),
        high: before.slice(first * width),
      },
      ({ dy, segments, low: dwLow, high: dwHigh }) => [
        ...embeddingBackward({ dy, segments, dw: dwLow }, low!, false, tuning),
        ...embeddingBackward({ dy, segments, dw: dwHigh }, high!, true, tuning),
      ],
    );
    const want = embeddingBackwardReference(dy, width, tokens, vocabulary, 0.5);
    expect(worstError(out.low, want.slice(0, first * width))).toBeLessThan(2e-6);
    const sum = want.map((v, i) => v + before[i]!).slice(first * width);
    expect(worstError(out.high, sum)).toBeLessThan(2e-6);
  });
});
