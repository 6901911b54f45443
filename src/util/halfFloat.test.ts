import { describe, expect, test } from 'vitest';
import {
  bfloatsToFloats,
  floatsToBfloats,
  floatsToHalves,
  floatToBfloat,
  floatToHalf,
  halfToFloat,
  halvesToFloats,
} from './halfFloat.ts';

const isNanHalf = (half: number) => (half & 0x7c00) === 0x7c00 && (half & 0x3ff) !== 0;

describe('half floats', () => {
  test('known values', () => {
    expect(halfToFloat(0x3c00)).toBe(1);
    expect(halfToFloat(0xc000)).toBe(-2);
    expect(halfToFloat(0x7bff)).toBe(65504);
    expect(halfToFloat(0x0001)).toBe(2 ** -24);
    expect(halfToFloat(0x03ff)).toBe(1023 * 2 ** -24);
    expect(Object.is(halfToFloat(0x8000), -0)).toBe(true);
    expect(halfToFloat(0xfc00)).toBe(-Infinity);
    expect(halfToFloat(0x7e00)).toBeNaN();
  });

  test('every finite half comes back as itself', () => {
    for (let half = 0; half < 65536; half++) {
      if (isNanHalf(half)) expect(isNanHalf(floatToHalf(halfToFloat(half)))).toBe(true);
      else if (floatToHalf(halfToFloat(half)) !== half) expect.fail(`half ${half}`);
    }
  });

  test('rounds to nearest, ties to even, at every neighbour pair', () => {
    for (let half = 0; half < 0x7bff; half++) {
      const low = halfToFloat(half);
      const high = halfToFloat(half + 1);
      const middle = (low + high) / 2;
      expect(floatToHalf(middle)).toBe(half % 2 === 0 ? half : half + 1);
      expect(floatToHalf(low + (high - low) * 0.49)).toBe(half);
      expect(floatToHalf(low + (high - low) * 0.51)).toBe(half + 1);
    }
    expect(floatToHalf(65519.99)).toBe(0x7bff);
    expect(floatToHalf(65520)).toBe(0x7c00);
    expect(floatToHalf(1e9)).toBe(0x7c00);
  });

  test('arrays', () => {
    const floats = [0, 1, -1.5, 65504, 2 ** -24];
    expect([...halvesToFloats(floatsToHalves(floats))]).toEqual(floats);
  });
});

describe('bfloat16', () => {
  test('rounds to nearest, ties to even', () => {
    expect(floatToBfloat(1)).toBe(0x3f80);
    expect(floatToBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(floatToBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(floatToBfloat(1 + 2 ** -8 + 2 ** -20)).toBe(0x3f81);
    expect(floatToBfloat(3.4e38)).toBe(0x7f80);
    expect([...bfloatsToFloats(floatsToBfloats([1, -2, 0.5, Infinity]))]).toEqual([1, -2, 0.5, Infinity]);
    expect(bfloatsToFloats(floatsToBfloats([NaN]))[0]).toBeNaN();
  });
});
