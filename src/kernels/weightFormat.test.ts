import { expect, test } from 'vitest';
import { floatToHalf } from '../util/halfFloat.ts';
import {
  dataBytes,
  formatName,
  rowGroups,
  rowWords,
  scaleBytes,
  unpack,
  type WeightFormat,
} from './weightFormat.ts';

test.each([
  [{ kind: 'f32' }, 'f32', 5, 60, 0],
  [{ kind: 'f16' }, 'f16', 3, 36, 0],
  [{ kind: 'affine', bits: 4, group: 32, scales: 'f16' }, 'q4g32f16', 4, 48, 12],
  [{ kind: 'affine', bits: 4, group: 16, scales: 'f32' }, 'q4g16f32', 2, 24, 24],
  [{ kind: 'affine', bits: 8, group: 32, scales: 'f32' }, 'q8g32f32', 8, 96, 24],
  [{ kind: 'affine', bits: 8, group: 16, scales: 'f16' }, 'q8g16f16', 4, 48, 12],
] as readonly (readonly [WeightFormat, string, number, number, number])[])(
  'sizes of [3, 5] in %o',
  (format, name, words, data, scales) => {
    expect(formatName(format)).toBe(name);
    expect(rowWords(format, 5)).toBe(words);
    expect(dataBytes(format, 3, 5)).toBe(data);
    expect(scaleBytes(format, 3, 5)).toBe(scales);
  },
);

test('groups of a row are whole', () => {
  const format = { kind: 'affine', bits: 4, group: 16, scales: 'f16' } as const;
  expect([1, 16, 17, 33].map((cols) => rowGroups(format, cols))).toEqual([1, 1, 2, 3]);
});

test('nibbles lie low first, pairs hold the scale low and the minimum high', () => {
  const format = { kind: 'affine', bits: 4, group: 16, scales: 'f16' } as const;
  const data = Uint32Array.from([0x76543210, 0xfedcba98]);
  const scales = Uint32Array.from([(floatToHalf(-1) << 16) | floatToHalf(0.5)]);
  const values = unpack({ format, rows: 1, cols: 16, data, scales });
  expect([...values]).toEqual(Array.from({ length: 16 }, (_, q) => 0.5 * q - 1));
});

/** Q8_0 holds signed bytes: q + 128 with the minimum -128 * scale gives back scale * q exactly. */
test('signed bytes survive the offset', () => {
  const format = { kind: 'affine', bits: 8, group: 32, scales: 'f16' } as const;
  const signed = Int8Array.from({ length: 32 }, (_, at) => at * 8 - 127);
  const data = new Uint32Array(Uint8Array.from(signed, (q) => q + 128).buffer);
  const scale = 0.0123291015625;
  const scales = Uint32Array.from([((floatToHalf(-128 * scale) << 16) | floatToHalf(scale)) >>> 0]);
  const values = unpack({ format, rows: 1, cols: 32, data, scales });
  expect([...values]).toEqual(Array.from(signed, (q) => Math.fround(scale * q)));
});

test('arrays of the wrong size are refused', () => {
  const format = { kind: 'affine', bits: 4, group: 32, scales: 'f16' } as const;
  expect(() => unpack({ format, rows: 1, cols: 32, data: new Uint32Array(4) })).toThrow(/16 \+ 4 bytes/);
});
