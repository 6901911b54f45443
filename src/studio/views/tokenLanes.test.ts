import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LaneToken, MatchReason } from '../../pipeline/protocol.ts';
import { fakeAlignment } from '../testing/fakeData.ts';
import { acrossFrom, fitLanes, laneUnits, layoutLanes, linksOf } from './tokenLanes.ts';

/** Tokens that end at the given byte offsets. */
function lane(...ends: number[]): LaneToken[] {
  return ends.map((end, index) => ({
    id: index,
    text: '',
    start: index === 0 ? 0 : (ends[index - 1] ?? 0),
    end,
    nll: 0,
    top: [],
  }));
}

const pair = (source: number, reason: MatchReason = 'paired') => ({ source, reason, mass: 1 });

/** "foobar." as foo|bar|. by the pivot and foobar|. by the source. */
const small = {
  pivot: lane(3, 6, 7),
  source: lane(6, 7),
  pairs: [pair(0), pair(-1, 'inside-source-token'), pair(1)],
};

describe('layoutLanes', () => {
  test('one row: chips by bytes, rules where both lanes have a boundary', () => {
    const [row, ...more] = layoutLanes(small, 100);
    expect(more).toEqual([]);
    expect(row?.pivot.map(({ from, to }) => [from, to])).toEqual([
      [0, 3],
      [3, 6],
      [6, 7],
    ]);
    expect(row?.source.map(({ from, to }) => [from, to])).toEqual([
      [0, 6],
      [6, 7],
    ]);
    expect(row?.rules).toEqual([0, 6, 7]);
  });

  test('ribbons say how two tokens belong together and never leave what they share', () => {
    const [row] = layoutLanes(small, 100);
    expect(row?.ribbons).toEqual([
      { pivot: 0, source: 0, kind: 'uneven', top: [0, 3], bottom: [0, 3] },
      { pivot: 1, source: 0, kind: 'inside-source-token', top: [3, 6], bottom: [3, 6] },
      { pivot: 2, source: 1, kind: 'exact', top: [6, 7], bottom: [6, 7] },
    ]);
  });

  test('rows break at common boundaries, and through a token only where there is none', () => {
    const rows = layoutLanes({ ...small, pairs: small.pairs }, 6);
    expect(rows.map(({ width }) => width)).toEqual([6, 1]);
    const cut = layoutLanes(small, 4);
    expect(cut.map(({ width }) => width)).toEqual([4, 3]);
    expect(cut[0]?.source[0]).toMatchObject({ from: 0, to: 4, cutLeft: false, cutRight: true });
    expect(cut[1]?.source[0]).toMatchObject({ index: 0, from: 0, to: 2, cutLeft: true });
  });

  test('tokens without bytes get room of their own, the same in both lanes', () => {
    const view = {
      pivot: lane(3, 3, 3),
      source: lane(3, 3),
      pairs: [pair(0), pair(1), pair(-1, 'past-end')],
    };
    const [row] = layoutLanes(view, 100);
    expect(row?.pivot.map(({ from, to }) => [from, to])).toEqual([
      [0, 3],
      [3, 5],
      [5, 7],
    ]);
    expect(row?.source.at(-1)).toMatchObject({ from: 3, to: 5 });
    expect(laneUnits(view)).toBe(7);
  });

  test('nothing to lay out', () => {
    expect(layoutLanes({ pivot: [], source: [], pairs: [] }, 10)).toEqual([]);
  });

  test('any two cuts of any text: every byte drawn once a lane, no row too long', () => {
    const ends = fc
      .uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 25 })
      .map((cuts) => [...cuts, 61].sort((a, b) => a - b));
    fc.assert(
      fc.property(ends, ends, fc.integer({ min: 3, max: 80 }), (ours, theirs, capacity) => {
        const view = {
          pivot: lane(...ours),
          source: lane(...theirs),
          pairs: ours.map(() => pair(-1, 'low-mass')),
        };
        const rows = layoutLanes(view, capacity);
        for (const name of ['pivot', 'source'] as const) {
          for (const row of rows) {
            let edge = 0;
            for (const chip of row[name]) {
              expect(chip.from).toBe(edge);
              expect(chip.to).toBeGreaterThan(chip.from);
              edge = chip.to;
            }
            expect(edge).toBe(row.width);
            expect(row.width).toBeLessThanOrEqual(capacity);
          }
        }
        expect(rows.reduce((sum, row) => sum + row.width, 0)).toBe(61);
      }),
    );
  });
});

test('links follow the pairs, with the covering token where there is no row', () => {
  expect(linksOf(small).map(({ source, kind }) => [source, kind])).toEqual([
    [0, 'uneven'],
    [0, 'inside-source-token'],
    [1, 'exact'],
  ]);
  expect(linksOf({ ...small, pairs: [] })[0]).toMatchObject({ source: -1, reason: 'past-end' });
});

test('up and down go to the token that covers the same place', () => {
  const view = {
    ...fakeAlignment('pivot-1m', 'fauna-3m', {
      id: 'x',
      messages: [{ role: 'assistant', content: 'An otter and a beaver.' }],
    }),
  };
  for (const [index, token] of view.pivot.entries()) {
    const other = view.source[acrossFrom(view, 'pivot', index)];
    expect(other && other.start < token.end && token.start < other.end).toBe(true);
  }
});

test('rows are as few as fit, and about as long as each other', () => {
  const text = 'The otter sleeps beside the river and dreams of trout. '.repeat(3);
  const view = fakeAlignment('pivot-1m', 'fauna-3m', {
    id: 'x',
    messages: [{ role: 'assistant', content: text }],
  });
  expect(fitLanes(small, 800)).toMatchObject({ unit: 36, rows: [{ width: 7 }] });
  const { unit, rows } = fitLanes(view, 800);
  expect(rows.length).toBeLessThanOrEqual(3);
  expect(unit).toBeGreaterThanOrEqual(9);
  for (const row of rows) {
    expect(row.width * unit).toBeLessThanOrEqual(800.001);
    expect(row.width).toBeGreaterThan(25);
  }
});
