import { expect, test } from 'vitest';
import type { Report, ReportRow } from './protocol.ts';
import { parseRecipe } from './recipe.ts';
import { reportText } from './reportText.ts';

const recipe = parseRecipe(
  { name: 'r', pivot: 'p', sources: ['a|b'], data: { train: ['t'], heldout: ['h'] } },
  'r.yaml',
);
const sft: ReportRow = {
  model: 'SFT-only',
  role: 'sft',
  nllPerByte: 0.5,
  low: 0.4,
  high: 0.6,
  accuracy: 0.25,
};
const merged = (value: number, low: number, high: number): ReportRow => ({
  model: 'merged (sce)',
  role: 'merged',
  nllPerByte: 0.5 + value,
  low: 0.4,
  high: 0.6,
  difference: { value, low, high },
});

function report(row: ReportRow, more: Partial<Report> = {}): string {
  return reportText({
    recipe,
    suites: [{ suite: 'maths', rows: [sft, row] }],
    seconds: 150,
    device: 'a GPU',
    peakBytes: 3 * 2 ** 20,
    alignment: [
      {
        source: 'a|b',
        coverage: 0.9,
        reasons: { paired: 9, 'inside-source-token': 1, 'low-mass': 0, 'not-scored': 5, 'past-end': 0 },
        mapping: {},
        won: 2,
        conversations: 3,
        tokensPerByte: { pivot: 0.25, source: 0.3 },
      },
    ],
    ...more,
  });
}

test.each([
  [merged(-0.02, -0.03, -0.01), '−0.0200 [−0.0300, −0.0100] ▼', 'is better than SFT-only by 0.0200'],
  [merged(0.02, 0.01, 0.03), '+0.0200 [+0.0100, +0.0300] ▲', 'is worse than SFT-only by 0.0200'],
  [merged(0.02, -0.01, 0.05), '+0.0200 [−0.0100, +0.0500] |', 'cannot be told from SFT-only (+0.0200)'],
  [merged(1e-6, 1e-7, 2e-6), '+0.0000 [+0.0000, +0.0000] |', 'cannot be told from SFT-only'],
])('a gain, a loss and neither are called so', (row, cell, verdict) => {
  const text = report(row);
  expect(text).toContain(cell);
  expect(text).toContain(`* maths: merged (sce) ${verdict}`);
});

test('tables, times and memory', () => {
  const text = report(merged(0, 0, 0), { reused: 4 });
  expect(text).toContain('It took 2.5 min on a GPU, 4 of its steps had been done before; at most 3 MiB');
  expect(text).toContain('| SFT-only | sft | 0.5000 | 0.4000 to 0.6000 |  | 25.0 % |');
  expect(text).toContain('| a\\|b | 90.0 % | 1 | 0 | 0 | 2 of 3 | 0.300 (pivot 0.250) |');
});

test('a suite of too few conversations has numbers and no verdict', () => {
  const few = { suite: 'maths', conversations: 3, tooFew: true, rows: [sft, merged(-0.02, -0.03, -0.01)] };
  const text = report(merged(0, 0, 0), { suites: [few] });
  expect(text).toContain('### maths (3 conversations, too few to tell)');
  expect(text).toContain('| −0.0200 [−0.0300, −0.0100] |');
  expect(text).toContain('* maths: too few to tell (3 conversations).');
  expect(text).not.toMatch(/(better|worse) than|[▼▲] \|/u);
});
