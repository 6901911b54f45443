import type { AlignmentSummary, Report, ReportRow, ReportSuite } from './protocol.ts';

type Cell = string;

/** The report for people, as Markdown: what was compared, where fusion helped and where it did not. */
export function reportText(report: Report): string {
  const { recipe, suites, alignment, seconds, device, peakBytes, reused = 0 } = report;
  const before = reused > 0 ? `, ${reused} of its steps had been done before` : '';
  const { pivot, sources, fuse, train, merge, seed } = recipe;
  return [
    `# ${recipe.name}`,
    '',
    `Pivot \`${pivot}\`, sources ${sources.map((source) => `\`${source}\``).join(', ')}.`,
    `λ ${fuse.lambda}, loss \`${fuse.loss}\`, choice \`${fuse.choice}\`; LoRA rank ${train.rank}, learning rate ${train.learningRate}, batch ${train.batch}, ${train.steps === undefined ? `${train.epochs} epochs` : `${train.steps} steps`}; merge \`${merge.method}\`; seed ${seed}.`,
    `It took ${duration(seconds)} on ${device}${before}; at most ${mebibytes(peakBytes)} of its memory were in use.`,
    '',
    '## Held-out conversations',
    '',
    'NLL is in nats per byte of the answers, lower is better; intervals are 95 % bootstrap intervals over conversations. The difference to SFT-only is paired by conversation; an interval that does not contain 0 is marked ▼ (better) or ▲ (worse), unless the suite has too few conversations to tell.',
    ...suites.flatMap((suite) => ['', `### ${suiteTitle(suite)}`, '', ...suiteTable(suite)]),
    '',
    '## Verdict',
    '',
    ...suites.map((suite) => `* ${suite.suite}: ${verdict(suite)}`),
    '',
    '## Alignment',
    '',
    ...alignmentTable(alignment),
    '',
  ].join('\n');
}

function suiteTitle({ suite, conversations, tooFew }: ReportSuite): string {
  if (conversations === undefined) return suite;
  return `${suite} (${counted(conversations)}${tooFew ? ', too few to tell' : ''})`;
}

function suiteTable({ rows, tooFew = false }: ReportSuite): string[] {
  const judged = rows.some(({ accuracy }) => accuracy !== undefined);
  const baseline = sftOnly(rows);
  const head = ['model', 'role', 'NLL per byte', 'interval', 'to SFT-only', ...(judged ? ['right'] : [])];
  return table(
    head,
    rows.map((row) => [
      row.model,
      row.role,
      row.nllPerByte.toFixed(4),
      `${row.low.toFixed(4)} to ${row.high.toFixed(4)}`,
      row === baseline ? '' : differenceCell(row, baseline, tooFew),
      ...(judged ? [row.accuracy === undefined ? '' : percent(row.accuracy)] : []),
    ]),
  );
}

function differenceCell(
  { difference, nllPerByte }: ReportRow,
  baseline: ReportRow | undefined,
  tooFew: boolean,
): Cell {
  if (difference) {
    const { value, low, high } = difference;
    const mark = tooFew || !shows(value) ? '' : high < 0 ? ' ▼' : low > 0 ? ' ▲' : '';
    return `${signed(value)} [${signed(low)}, ${signed(high)}]${mark}`;
  }
  return baseline ? signed(nllPerByte - baseline.nllPerByte) : '';
}

/** What the merged model did beside SFT-only, in words. */
function verdict({ rows, tooFew, conversations = 0 }: ReportSuite): string {
  const baseline = sftOnly(rows);
  const merged = rows.filter(({ role }) => role === 'merged');
  if (!baseline || merged.length === 0) return 'there is nothing to compare.';
  if (tooFew) return `too few to tell (${counted(conversations)}).`;
  return `${merged.map((row) => `${row.model} ${judgement(row, baseline)}`).join('; ')}.`;
}

function judgement({ nllPerByte, difference }: ReportRow, baseline: ReportRow): string {
  const value = difference?.value ?? nllPerByte - baseline.nllPerByte;
  const size = `${Math.abs(value).toFixed(4)} nats per byte`;
  if (!shows(value) || (difference && difference.low <= 0 && difference.high >= 0))
    return `cannot be told from SFT-only (${signed(value)})`;
  return value < 0 ? `is better than SFT-only by ${size}` : `is worse than SFT-only by ${size}`;
}

const counted = (conversations: number) =>
  `${conversations} ${conversations === 1 ? 'conversation' : 'conversations'}`;

function sftOnly(rows: readonly ReportRow[]): ReportRow | undefined {
  return rows.find(({ role }) => role === 'sft');
}

function alignmentTable(summaries: readonly AlignmentSummary[]): string[] {
  return table(
    [
      'source',
      'coverage',
      'inside a source token',
      'low mass',
      'past the end',
      'MinCE wins',
      'tokens per byte',
    ],
    summaries.map(({ source, coverage, reasons, won, conversations, tokensPerByte }) => [
      source,
      percent(coverage),
      String(reasons['inside-source-token']),
      String(reasons['low-mass']),
      String(reasons['past-end']),
      `${won} of ${conversations}`,
      `${tokensPerByte.source.toFixed(3)} (pivot ${tokensPerByte.pivot.toFixed(3)})`,
    ]),
  );
}

function table(head: readonly Cell[], rows: readonly (readonly Cell[])[]): string[] {
  const line = (cells: readonly Cell[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

/** Whether a difference is more than 0 when written down. */
/** Whether a difference in nats per byte is more than 0 in the four digits that are written. */
export const shows = (difference: number) => Math.abs(difference) >= 5e-5;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
