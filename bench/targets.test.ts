import { describe, expect, test } from 'vitest';
import { targetChart } from './chart.ts';
import { adapterSection, withSection } from './document.ts';
import type { StepResult } from './measure.ts';
import { readOptions } from './options.ts';
import { type BenchReport, profileTable, targetTable } from './report.ts';
import { isReached } from './targetRow.ts';
import { targetRows } from './targets.ts';
import { matrixFlops, SMALL, stepFlops } from './trainCase.ts';

const step = (engine: string, medianMs: number, counts = {}): StepResult => ({
  engine,
  medianMs,
  counts,
  firstMs: 1,
  bestMs: 1,
  gflops: 1,
  losses: [],
});
const product = (engine: string, bestMs: number, gflops = 1) => ({ engine, bestMs, gflops, error: 0 });

/** A report with a step of two seconds, a best rate of 20 GFLOP/s, and peers around it. */
const REPORT: BenchReport = {
  adapter: 'an adapter',
  software: true,
  node: 'v20.1.2',
  cores: 2,
  load: 0.1,
  versions: { alloy: 'this tree', 'jax-js': '1' },
  steps: [
    {
      name: 'small',
      failures: [],
      results: [step('alloy', 2000, { jsMs: 2, dispatches: 200 }), step('jax-js', 5000), step('tfjs', 9000)],
    },
  ],
  matmuls: [
    {
      name: 'f32 1024³',
      failures: [],
      results: [product('alloy', 100, 20), product('tfjs', 150), product('jax-js', 300)],
    },
  ],
  decodes: [
    {
      name: 'a model',
      failures: [],
      results: [
        { engine: 'alloy', firstMs: 1, msPerToken: 50, tokensPerSecond: 20 },
        { engine: 'onnxruntime-web', firstMs: 1, msPerToken: 100, tokensPerSecond: 10 },
      ],
    },
  ],
  torch: { ms: {}, reason: 'no Python' },
  ratios: {},
};
const rows = targetRows(REPORT);
const row = (what: string) => rows.find((one) => one.what.startsWith(what))!;

describe('the table of targets', () => {
  test('ratios are those to the fastest peer', () => {
    expect(row('train step, small, against jax-js')).toMatchObject({ value: 2.5, target: 3 });
    expect(row('f32 product 1024³')).toMatchObject({ value: 1.5, target: 2 });
    expect(row('greedy generation against')).toMatchObject({ value: 2, target: 1.5 });
  });

  test('the share is the time of the matrix work at the best rate', () => {
    const wanted = (100 * matrixFlops(SMALL)) / 20e9 / 2;
    expect(row('train step: matrix work').value).toBeCloseTo(wanted, 8);
    expect(matrixFlops(SMALL)).toBeLessThan(stepFlops(SMALL));
  });

  test('time of JavaScript is scaled to 150 dispatches', () => {
    expect(row('JavaScript')).toMatchObject({ value: 1.5, target: 1, less: true });
  });

  test('what was not measured says why', () => {
    expect(row('cold start')).toMatchObject({ value: undefined, note: 'not measured in this run' });
    expect(row('train step, small, against eager PyTorch').note).toBe('2000 ms; no Python');
    expect(row('4-bit').value).toBeUndefined();
  });

  test('reached or not', () => {
    expect(isReached(row('JavaScript'))).toBe(false);
    expect(isReached(row('greedy generation against'))).toBe(true);
    expect(isReached(row('cold start'))).toBeUndefined();
  });

  test('drawn in the terminal and as a picture', () => {
    const lines = targetTable(rows).split('\n');
    expect(lines.find((line) => line.startsWith('JavaScript'))).toMatch(
      /≤ 1\.00 ms {2,}1\.50 ms {2}█{16}░{8} {2}MISSED/,
    );
    const picture = targetChart(rows, 'A <title> & more');
    expect(picture.match(/class="reached"/g)).toHaveLength(1);
    expect(picture.match(/class="missed"/g)).toHaveLength(4);
    expect(picture).toContain('A &lt;title> &amp; more');
  });
});

describe('docs/performance.md', () => {
  const section = adapterSection(REPORT, rows, '2026-01-02');

  test('a section has the day, the engines and every row', () => {
    expect(section).toContain(
      '2026-01-02, Node 20.1.2, alloy this tree, jax-js 1; 2 cores, load 0.1 at the beginning.',
    );
    expect(section.match(/^\| /gm)).toHaveLength(rows.length + 1);
  });

  test('an adapter has one section; the others and what is around them stay', () => {
    const first = withSection('# Performance\n\nWords.\n', 'one', 'old\n');
    const both = withSection(first, 'two', 'other\n');
    const again = withSection(both, 'one', 'new\n');
    expect(again).toBe(both.replace('old', 'new'));
    expect(again).toContain('Words.');
    expect(again).toContain('other');
  });
});

test('kernels below half a percent are told together', () => {
  const kernels = [
    { kernel: 'a', dispatches: 3, ms: 99.2 },
    { kernel: 'b', dispatches: 2, ms: 0.4 },
    { kernel: 'c', dispatches: 2, ms: 0.4 },
  ];
  const lines = profileTable(kernels).split('\n').slice(1);
  expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
    ['a', '3', '99.2', '99.2 %'],
    ['2 others', '4', '0.800', '0.8 %'],
  ]);
});

test('options', () => {
  expect(readOptions([], ['a', 'b'])).toMatchObject({ engines: ['a', 'b'], whole: true, seconds: 60 });
  expect(readOptions(['--quick', '--only', 'decode'], ['a'])).toMatchObject({ whole: false, seconds: 5 });
  expect(() => readOptions(['--only', 'nothing'], ['a'])).toThrow(/--only has no "nothing"/);
});
