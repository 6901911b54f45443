import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { mergeDeltas } from './deltaMerge.ts';
import { selectTop, selectTopBytes } from './deltaSelect.ts';
import { poisoned } from './reference/compare.ts';
import { selectReference } from './reference/deltaMerge.ts';

/** Which elements are kept: two sources, x and 0, merged with weights 1 and 0, so that a kept element shows its x. */
async function keptOf(x: Float32Array<ArrayBuffer>, tau: number) {
  const shape = { sources: 2, rows: 1, columns: x.length };
  const bytes = selectTopBytes(shape);
  const deltas = new Float32Array(x.length * 2);
  deltas.set(x);
  const out = await runOnDevice(
    {
      deltas,
      weights: Float32Array.of(1, 0),
      delta: poisoned(x.length),
      variance: poisoned(bytes.variance / 4),
      selection: poisoned(bytes.selection / 4),
      histogram: poisoned(bytes.histogram / 4),
    },
    (b) => {
      const source = { kind: 'dense', deltas: b.deltas } as const;
      return [
        ...selectTop(source, b, shape, tau),
        mergeDeltas(source, b, shape, { kind: 'linear' }, { selection: b }),
      ];
    },
  );
  return { kept: [...out.delta].map((value) => value !== 0), variance: out.variance };
}

function ones(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(count).fill(1);
}

test.each([1, 2, 10, 255, 8193, 70_001])('of %i random elements', async (count) => {
  const x = testValues(count, count);
  for (const tau of [0.1, 0.5, 0.999]) {
    const { kept, variance } = await keptOf(x, tau);
    expect(kept).toEqual(selectReference(variance, tau));
  }
});

test('among equal variances the lower index is kept', async () => {
  const { kept } = await keptOf(ones(9000), 0.25);
  expect(kept).toEqual(Array.from({ length: 9000 }, (_, i) => i < 2250));
  const x = Float32Array.from({ length: 5003 }, (_, i) => [0, 2, 1, -2, 0.5][i % 5]!);
  const { kept: mixed, variance } = await keptOf(x, 0.6);
  expect(mixed).toEqual(selectReference(variance, 0.6));
  expect(mixed.filter(Boolean).length).toBe(Math.floor(0.6 * x.filter((value) => value !== 0).length));
});

test('elements without variance do not count, and none is kept when the share is below one element', async () => {
  const x = new Float32Array(1000);
  x[700] = 3;
  x[800] = 1e-18;
  expect((await keptOf(x, 0.4)).kept.some(Boolean)).toBe(false);
  expect((await keptOf(x, 0.5)).kept.flatMap((keep, i) => (keep ? [i] : []))).toEqual([700]);
  expect((await keptOf(new Float32Array(300), 0.9)).kept.some(Boolean)).toBe(false);
});

test('the number kept is the floor of the product in double precision', async () => {
  const cases: [number, number][] = [
    [0.7, 10],
    [0.29, 100],
    [0.1, 1000],
    [0.57, 100],
    [1 / 3, 3],
    [1 / 3, 999],
    [0.999999, 1],
    [1 - 2 ** -53, 4000],
    [2 ** -53, 4000],
    [0.0007, 10_000],
    [0.07, 8100],
  ];
  for (let i = 1; i < 30; i++) cases.push([i / 30, 30 * i], [i / 100, 100], [i / 1000, 7000]);
  for (const [tau, count] of cases) {
    const { kept } = await keptOf(ones(count), tau);
    expect([tau, count, kept.filter(Boolean).length]).toEqual([tau, count, Math.floor(tau * count)]);
  }
});

test('shares outside (0, 1) are refused', () => {
  const shape = { sources: 2, rows: 1, columns: 1 };
  const source = { kind: 'dense', deltas: 0 } as const;
  for (const tau of [0, 1, 1.5, Number.NaN])
    expect(() => selectTop(source, { variance: 0, selection: 0, histogram: 0 }, shape, tau)).toThrow(/share/);
});
