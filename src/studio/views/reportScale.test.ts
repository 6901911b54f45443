import { expect, test } from 'vitest';
import type { ReportRow } from '../../pipeline/protocol.ts';
import { placeOf, reportScale, scaleLabels } from './reportScale.ts';

const row = (role: ReportRow['role'], low: number, high: number) => ({ role, low, high });
const compared = [row('sft', 0.3, 0.4), row('merged', 0.28, 0.36)];

test('a source that is far off does not push the compared models together', () => {
  const near = reportScale(compared);
  expect(reportScale([...compared, row('source', 9.8, 10.6)])).toEqual(near);
  expect(placeOf(0.28, near)).toBeGreaterThan(0);
  expect(placeOf(0.28, near)).toBeLessThan(0.06);
  expect(placeOf(0.4, near)).toBeGreaterThan(0.94);
  expect(placeOf(10, near)).toBeGreaterThan(1);
});

test('models that are near enough are on the scale, the nearest first', () => {
  const scale = reportScale([...compared, row('source', 0.8, 0.9), row('pivot', 0.45, 0.7)]);
  expect(placeOf(0.7, scale)).toBeLessThan(1);
  expect(placeOf(0.9, scale)).toBeGreaterThan(1);
  expect(placeOf(0.28, scale)).toBeGreaterThan(0);
});

test('a scale is never empty', () => {
  const point = reportScale([row('sft', 0.3, 0.3), row('merged', 0.3, 0.3)]);
  expect(point.high).toBeGreaterThan(point.low);
  expect(placeOf(0.3, point)).toBeCloseTo(0.5, 9);
  const nothing = reportScale([row('pivot', 2, 3), row('source', 9, 10)]);
  expect(placeOf(10, nothing)).toBeLessThan(1);
});

test('its ends have the digits that tell them apart', () => {
  expect(scaleLabels({ low: 0.276, high: 0.401 })).toEqual(['0.28', '0.40']);
  expect(scaleLabels({ low: 0.411, high: 0.432 })).toEqual(['0.411', '0.432']);
  expect(scaleLabels({ low: 0.2, high: 1.9 })).toEqual(['0.20', '1.90']);
  expect(scaleLabels({ low: -0.01, high: 12 })).toEqual(['0.00', '12.00']);
});
