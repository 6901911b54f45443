import { describe, expect, test } from 'vitest';
import {
  formatCount,
  formatSeconds,
  formatShare,
  formatSigned,
  hexBytes,
  visibleWhitespace,
} from './format.ts';
import { layoutDiagram } from './fusionDiagram.ts';
import { shortWeight, weightColour, weightScale } from './weightScale.ts';

describe('weight scale', () => {
  test('rounds outwards in coarse steps and has no lower half without negatives', () => {
    expect(weightScale([0.2, 0.41])).toEqual({ low: 0, high: 0.5 });
    expect(weightScale([0.2, 0.51])).toEqual({ low: 0, high: 0.75 });
    expect(weightScale([-0.1, 1.2])).toEqual({ low: -0.5, high: 1.5 });
    expect(weightScale([])).toEqual({ low: 0, high: 0.5 });
    expect(weightScale([40])).toEqual({ low: 0, high: 40 });
  });

  test('ends of the ramps, and both sides of zero', () => {
    const scale = { low: -0.5, high: 1 };
    expect(weightColour(0, scale)).toEqual({
      background: 'color-mix(in oklab, var(--seq-1) 0%, var(--seq-0))',
      deep: false,
    });
    expect(weightColour(1, scale)).toEqual({
      background: 'color-mix(in oklab, var(--seq-4) 100%, var(--seq-3))',
      deep: true,
    });
    expect(weightColour(-0.5, scale).background).toContain('--neg-3');
    expect(weightColour(7, scale)).toEqual(weightColour(1, scale));
  });

  test('short forms', () => {
    expect([0.333, -0.05, 1, 1.25, 0, -0.001].map(shortWeight)).toEqual([
      '.33',
      '−.05',
      '1.0',
      '1.25',
      '.00',
      '.00',
    ]);
  });
});

describe('fusion diagram', () => {
  test('every source has its target in the same row, and lines start and end at nodes', () => {
    const { nodes, lines, width, height } = layoutDiagram(['x', 'y', 'z']);
    const place = new Map(nodes.map(({ name, x, y }) => [name, { x, y }]));
    for (const source of ['x', 'y', 'z']) expect(place.get(source)?.y).toBe(place.get(`target:${source}`)?.y);
    expect(place.get('fused')?.y).toBe(place.get('y')?.y);
    expect(lines).toHaveLength(9);
    for (const { x, y } of nodes) {
      expect(x).toBeGreaterThan(12);
      expect(x).toBeLessThan(width - 12);
      expect(y).toBeGreaterThan(12);
      expect(y).toBeLessThan(height - 12);
    }
  });
});

test('numbers as people read them', () => {
  expect([1024, 48_200, 1_312_000, 4_000_000, 2.5e9].map(formatCount)).toEqual([
    '1,024',
    '48.2 k',
    '1.3 M',
    '4 M',
    '2.5 B',
  ]);
  expect([0, 0.004, 0.0996, 0.5, 0.996, 0.99996, 1].map(formatShare)).toEqual([
    '0 %',
    '0.4 %',
    '10 %',
    '50 %',
    '99.6 %',
    '100 %',
    '100 %',
  ]);
  expect([0.2, 59.6, 200, 3725].map(formatSeconds)).toEqual(['1 s', '1 min 0 s', '3 min 20 s', '1 h 2 min']);
  expect([0.0123, -0.0123, 0.0001, -0.0001].map((value) => formatSigned(value))).toEqual([
    '+0.012',
    '−0.012',
    '±0.000',
    '±0.000',
  ]);
  expect(visibleWhitespace(' a\n\tb')).toBe('·a↵→b');
  expect(hexBytes(new Uint8Array([32, 111, 10]))).toBe('20 6f 0a');
});
