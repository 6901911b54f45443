import { describe, expect, test } from 'vitest';
import { testValues } from '../device/testing.ts';
import { packMatrix } from './quantize.ts';
import { type AffineFormat, formatName, unpack } from './weightFormat.ts';

const AFFINE: AffineFormat[] = ([4, 8] as const).flatMap((bits) =>
  ([16, 32] as const).flatMap((group) =>
    (['f16', 'f32'] as const).map((scales) => ({ kind: 'affine', bits, group, scales }) as const),
  ),
);

/** Sum of three uniform values: heavier in the middle, as weights are. */
function weights(count: number, scale: number): Float32Array {
  const [a, b, c] = [testValues(count, 1, scale), testValues(count, 2, scale), testValues(count, 3, scale)];
  return a.map((value, at) => value + b[at]! + c[at]!);
}

function groupsOf(values: Float32Array, cols: number, group: number): Float32Array[] {
  const parts: Float32Array[] = [];
  for (let row = 0; row < values.length; row += cols) {
    for (let at = 0; at < cols; at += group)
      parts.push(values.subarray(row + at, row + Math.min(cols, at + group)));
  }
  return parts;
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, at) => sum + (value - b[at]!) ** 2, 0);
}

describe.each(AFFINE.map((format) => [formatName(format), format] as const))('%s', (_, format) => {
  test.each([
    [1, 1],
    [3, 15],
    [5, 33],
    [4, 96],
  ])('rounds [%i, %i] within half a step of the group', (rows, cols) => {
    const values = weights(rows * cols, 0.05);
    const back = unpack(packMatrix(values, rows, cols, format));
    const backGroups = groupsOf(back, cols, format.group);
    for (const [at, part] of groupsOf(values, cols, format.group).entries()) {
      const spread = Math.max(...part) - Math.min(...part);
      const rounding =
        format.scales === 'f16' ? 2 ** -10 * Math.max(...part.map(Math.abs)) + 2 ** -24 * 300 : 1e-7;
      /** A refitted line of 4 bits may miss the ends by more, never the group as a whole. */
      const step = spread / (2 ** format.bits - 1);
      const mean = Math.sqrt(squaredError(part, backGroups[at]!) / part.length);
      expect(mean).toBeLessThanOrEqual(step / 2 + rounding);
      if (format.bits === 8) {
        part.forEach((value, i) => {
          expect(Math.abs(value - backGroups[at]![i]!)).toBeLessThanOrEqual(step / 2 + rounding);
        });
      }
    }
  });

  test('keeps constant groups and ignores their padding', () => {
    const values = new Float32Array(3 * 17).fill(-0.375);
    expect(unpack(packMatrix(values, 3, 17, format))).toEqual(values);
  });

  test('is idempotent on its own values', () => {
    const once = unpack(packMatrix(weights(2 * 64, 0.1), 2, 64, { ...format, scales: 'f32' }));
    const twice = unpack(packMatrix(once, 2, 64, { ...format, scales: 'f32' }));
    for (let at = 0; at < once.length; at++) expect(twice[at]).toBeCloseTo(once[at]!, 5);
  });
});

test('refitting beats the line through the extremes', () => {
  const [rows, cols] = [32, 256];
  const format = { kind: 'affine', bits: 4, group: 32, scales: 'f32' } as const;
  const values = weights(rows * cols, 0.05);
  const error = squaredError(values, unpack(packMatrix(values, rows, cols, format)));
  let naive = 0;
  for (const part of groupsOf(values, cols, 32)) {
    const low = Math.min(...part);
    const step = (Math.max(...part) - low) / 15;
    for (const value of part) naive += (Math.round((value - low) / step) * step + low - value) ** 2;
  }
  expect(error).toBeLessThan(0.95 * naive);
});

test('f16 rounds to the nearest half and pads odd rows', () => {
  const values = Float32Array.from([1, 2, 65504, -0.1, 1e-7, 0]);
  const packed = packMatrix(values, 2, 3, { kind: 'f16' });
  expect(packed.data.length).toBe(4);
  const back = unpack(packed);
  for (const [at, value] of values.entries()) {
    expect(Math.abs(back[at]! - value)).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(value), 2 ** -25));
  }
});

test('f32 is kept bit for bit', () => {
  const values = testValues(35, 4);
  expect(unpack(packMatrix(values, 5, 7, { kind: 'f32' }))).toEqual(values);
});

test('what does not fit is refused', () => {
  expect(() => packMatrix(Float32Array.from([1e6]), 1, 1, { kind: 'f16' })).toThrow(/half float/);
  expect(() => packMatrix(Float32Array.from([1e6, 0]), 1, 2, AFFINE[0]!)).toThrow(/half float/);
  expect(() => packMatrix(Float32Array.from([Number.NaN]), 1, 1, AFFINE[0]!)).toThrow(/NaN/);
  expect(() => packMatrix(Float32Array.from([1, Infinity]), 1, 2, AFFINE[1]!)).toThrow(/Infinity/);
  expect(() => packMatrix(new Float32Array(3), 1, 2, AFFINE[0]!)).toThrow(/cannot have 3/);
});
