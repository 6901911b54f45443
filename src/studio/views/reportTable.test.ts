import { describe, expect, test } from 'vitest';
import type { ReportRow } from '../../pipeline/protocol.ts';
import { baselineKey, reportTable, rowModel, verdictOf, verdictSentence } from './reportTable.ts';

const row = (model: string, role: ReportRow['role'], nllPerByte: number, half = 0.01): ReportRow => ({
  model,
  role,
  nllPerByte,
  low: nllPerByte - half,
  high: nllPerByte + half,
});

const paired = (one: ReportRow, low: number, high: number): ReportRow => ({
  ...one,
  difference: { value: (low + high) / 2, low, high },
});
const sft = row('SFT-only', 'sft', 0.25);

const suites = [
  {
    suite: 'animals',
    rows: [
      row('merged (sce)', 'merged', 0.2),
      row('p', 'pivot', 0.5),
      row('target of x', 'target', 0.22),
      sft,
      row('x', 'source', 0.1),
    ],
  },
  { suite: 'words', rows: [sft, row('merged (sce)', 'merged', 0.3), row('p', 'pivot', 0.5)] },
  {
    suite: 'food',
    rows: [
      sft,
      row('SFT-only, scaled', 'sft', 0.23),
      row('merged (sce)', 'merged', 0.26, 0.05),
      row('merged (linear)', 'merged', 0.24),
    ],
  },
];

describe('reportTable', () => {
  const table = reportTable(suites, baselineKey(suites, 'sft'));

  test('rows come in the order of the recipe’s way, whatever the report’s order', () => {
    expect(table.lines.map(({ key }) => key)).toEqual([
      'pivot p',
      'source x',
      'sft SFT-only',
      'sft SFT-only, scaled',
      'target target of x',
      'merged merged (sce)',
      'merged merged (linear)',
    ]);
    expect(table.columns.map(({ suite }) => suite)).toEqual(['animals', 'words', 'food']);
  });

  test('differences are to the baseline; better or worse only where the intervals part', () => {
    const merged = table.lines.at(-2)!;
    expect(merged.cells.map((cell) => cell?.change)).toEqual(['better', 'worse', 'within']);
    expect(merged.cells[0]?.difference).toBeCloseTo(-0.05, 12);
    expect(table.lines[2]?.cells[0]).toEqual({ row: sft });
  });

  test('against SFT-only the paired interval of the report decides, not the two wide ones', () => {
    const close = [
      {
        suite: 's',
        rows: [row('SFT-only', 'sft', 0.25, 0.1), paired(row('m', 'merged', 0.24, 0.1), -0.02, -0.001)],
      },
    ];
    const [, merged] = reportTable(close, baselineKey(close, 'sft')).lines;
    expect(merged?.cells[0]?.change).toBe('better');
    const other = reportTable(close, baselineKey(close, 'merged')).lines;
    expect(other[0]?.cells[0]?.change).toBe('within');
    expect(verdictOf(close)?.better).toEqual(['s']);
  });

  test('a pinned baseline is found by its key or its role', () => {
    expect(baselineKey(suites, 'merged merged (linear)')).toBe('merged merged (linear)');
    expect(baselineKey(suites, 'merged')).toBe('merged merged (sce)');
    expect(baselineKey(suites, 'nobody')).toBeUndefined();
  });

  test('a target is known by its source, in whatever words', () => {
    for (const model of ['x', 'target of x', 'target:x']) {
      expect(rowModel({ model, role: 'target' }, ['y', 'x'])).toBe('target:x');
    }
    expect(rowModel({ model: 'merged (sce)', role: 'merged' }, [])).toBe('merged');
  });

  test('a model that a suite lacks leaves its cell empty; an unknown baseline compares nothing', () => {
    expect(table.lines[1]?.cells[1]).toBeUndefined();
    const plain = reportTable(suites, 'nobody');
    expect(plain.lines.every(({ cells }) => cells.every((cell) => cell?.difference === undefined))).toBe(
      true,
    );
  });

  test('every suite has its scale and its line of the baseline', () => {
    for (const { scale } of table.columns) expect(scale.low).toBeLessThan(scale.high);
    expect(table.columns.map(({ baseline }) => baseline)).toEqual([0.25, 0.25, 0.25]);
    expect(reportTable(suites, 'nobody').columns[0]?.baseline).toBeUndefined();
    expect(table.hasAccuracy).toBe(false);
  });
});

describe('verdict', () => {
  test('names every suite that was lost', () => {
    const verdict = verdictOf(suites)!;
    expect(verdict).toEqual({
      better: ['animals'],
      worse: ['words'],
      within: ['food'],
      few: [],
      behindControl: ['food'],
    });
    expect(verdictSentence(verdict)).toBe(
      'Fused is better than SFT-only in 1 of 3 suites; worse in words; not to be told apart in food. SFT-only at the same norm is ahead of it in food.',
    );
  });

  test('a suite of too few conversations is neither won nor lost', () => {
    const few = suites.map((suite) => ({ ...suite, conversations: 3, tooFew: suite.suite !== 'words' }));
    const cells = reportTable(few, baselineKey(few, 'sft')).lines.flatMap(({ cells: [cell] }) => cell ?? []);
    expect(new Set(cells.map(({ change }) => change))).toEqual(new Set(['few', undefined]));
    const verdict = verdictOf(few)!;
    expect(verdict).toEqual({
      better: [],
      worse: ['words'],
      within: [],
      few: ['animals', 'food'],
      behindControl: [],
    });
    expect(verdictSentence(verdict)).toBe(
      'Fused is better than SFT-only in 0 of 1 suite; worse in words. Too few to tell in animals, food.',
    );
    expect(verdictSentence(verdictOf(few.filter(({ tooFew }) => tooFew))!)).toBe(
      'Too few conversations to tell Fused from SFT-only in animals, food.',
    );
  });

  test('a difference that no digit shows is none', () => {
    const same = [{ suite: 's', rows: [sft, paired(row('m', 'merged', 0.250001), 1e-7, 2e-6)] }];
    expect(verdictOf(same)?.within).toEqual(['s']);
  });

  test('a clean sweep, a clean loss, and nothing to compare', () => {
    expect(verdictSentence({ better: ['a', 'b'], worse: [], within: [], few: [], behindControl: [] })).toBe(
      'Fused is better than SFT-only in all 2 suites.',
    );
    expect(verdictSentence({ better: [], worse: ['a'], within: [], few: [], behindControl: [] })).toBe(
      'Fused is better than SFT-only in 0 of 1 suite; worse in a.',
    );
    expect(verdictOf([{ suite: 'a', rows: [row('p', 'pivot', 1)] }])).toBeUndefined();
  });
});
