import { expect, test } from 'vitest';
import { TransferRate } from './transferRate.ts';

test('the pace of the last seconds, not of what was before', () => {
  let now = 0;
  const rate = new TransferRate(() => now);
  expect(rate.update(0, 1000)).toBeUndefined();
  now = 100;
  expect(rate.update(50, 950)).toBeUndefined();
  now = 1000;
  expect(rate.update(100, 900)).toEqual({ bytesPerSecond: 100, secondsLeft: 9 });
  for (now = 2000; now <= 20_000; now += 1000) rate.update(100, 900);
  expect(rate.update(100, 900)).toBeUndefined();
  now = 24_000;
  const found = rate.update(500, 500);
  expect(found?.bytesPerSecond).toBeCloseTo(400 / 9, 5);
});
