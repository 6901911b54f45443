import { expect, test } from 'vitest';
import { formatBytes, parseBytes } from './bytes.ts';

test('bytes in decimal units, three digits where a person compares them', () => {
  expect([12, 1234, 1_420_000, 128_400_000, 3.2e9].map(formatBytes)).toEqual([
    '12 B',
    '1.2 kB',
    '1.4 MB',
    '128 MB',
    '3.20 GB',
  ]);
  expect([999.7, 500_000, 999_600, 99_960_000, 999_600_000].map(formatBytes)).toEqual([
    '1.0 kB',
    '500 kB',
    '1.0 MB',
    '100 MB',
    '1.00 GB',
  ]);
});

test('sizes as people write them', () => {
  expect(['1.5GB', '800 MiB', '64', '2kb'].map((text) => parseBytes(text, '--memory'))).toEqual([
    1.5e9,
    800 * 2 ** 20,
    64,
    2000,
  ]);
  expect(() => parseBytes('lots', '--memory')).toThrow(/--memory: "lots"/u);
});
