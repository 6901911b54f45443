import { describe, expect, test } from 'vitest';
import type { ReportRow } from '../../pipeline/protocol.ts';
import { reportTable, verdictOf, verdictSentence } from './reportTable.ts';

const row = (model: string, role: ReportRow['role'], nllPerByte: number, half = 0.01): ReportRow => ({
  model,
  role,
  nllPerByte,
  low: nllPerByte - half,
  high: nllPerByte + half,
});

const suites = [
  {
    suite: 'animals',
    rows: [
      row('merged', 'merged', 0.2),
      row('p', 'pivot', 0.5),
      row('x', 'target', 0.22),
      row('sft', 'sft', 0.25),
      row('x', 'source', 0.1),
    ],
  },
  { suite: 'words', rows: [row('sft', 'sft', 0.25), row('merged', 'merged', 0.3), row('p', 'pivot', 0.5)] },
  {
    suite: 'food',
    rows: [row('sft', 'sft', 0.25), row('merged', 'merged', 0.26, 0.05), row('p', 'pivot', 0.5)],
  },
];

describe('reportTable', () => {
  const table = reportTable(suites, 'sft');

  test('rows come in the order of the recipe’s way, whatever the report’s order', () => {
    expect(table.lines.map(({ key }) => key)).toEqual(['pivot', 'x', 'sft', 'target:x', 'merged']);
    expect(table.suites).toEqual(['animals', 'words', 'food']);
  });

  test('differences are to the baseline; better or worse only where the intervals part', () => {
    const merged = table.lines.at(-1)!;
    expect(merged.cells.map((cell) => cell?.change)).toEqual(['better', 'worse', 'within']);
    expect(merged.cells[0]?.difference).toBeCloseTo(-0.05, 12);
    expect(table.lines[2]?.cells[0]).toEqual({ row: suites[0]!.rows[3] });
  });

  test('a model that a suite lacks leaves its cell empty; an unknown baseline compares nothing', () => {
    expect(table.lines[1]?.cells[1]).toBeUndefined();
    const plain = reportTable(suites, 'nobody');
    expect(plain.lines.every(({ cells }) => cells.every((cell) => cell?.difference === undefined))).toBe(
      true,
    );
  });

  test('one scale holds every interval', () => {
    expect([table.low, table.high]).toEqual([expect.closeTo(0.09, 12), expect.closeTo(0.51, 12)]);
    expect(table.hasAccuracy).toBe(false);
  });
});

describe('verdict', () => {
  test('names every suite that was lost', () => {
    const verdict = verdictOf(suites)!;
    expect(verdict).toEqual({ better: ['animals'], worse: ['words'], within: ['food'] });
    expect(verdictSentence(verdict)).toBe(
      'Fused is better than SFT-only in 1 of 3 suites; worse in words; within the intervals in food.',
    );
  });

  test('a clean sweep, a clean loss, and nothing to compare', () => {
    expect(verdictSentence({ better: ['a', 'b'], worse: [], within: [] })).toBe(
      'Fused is better than SFT-only in all 2 suites.',
    );
    expect(verdictSentence({ better: [], worse: ['a'], within: [] })).toBe(
      'Fused is better than SFT-only in 0 of 1 suite; worse in a.',
    );
    expect(verdictOf([{ suite: 'a', rows: [row('p', 'pivot', 1)] }])).toBeUndefined();
  });
});
