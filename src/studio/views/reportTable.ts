/** The comparison of a report, as numbers: rows in a fixed order, one scale for all intervals, differences, a verdict. */
import type { Report, ReportRow } from '../../pipeline/protocol.ts';

const order: readonly ReportRow['role'][] = ['pivot', 'source', 'sft', 'target', 'merged'];

/** What the studio calls a row: `pivot`, `sft`, `merged`, a source's name, `target:NAME`. */
export function rowKey(row: Pick<ReportRow, 'model' | 'role'>): string {
  if (row.role === 'source') return row.model;
  if (row.role === 'target') return row.model.startsWith('target:') ? row.model : `target:${row.model}`;
  return row.role;
}

export type Change = 'better' | 'worse' | 'within';

export interface ReportCell {
  readonly row: ReportRow;
  /** To the baseline's value in nats per byte; absent for the baseline itself and without one. */
  readonly difference?: number;
  /** Better or worse only where the two intervals do not meet. */
  readonly change?: Change;
}

export interface ReportLine {
  readonly key: string;
  readonly role: ReportRow['role'];
  /** One a suite, in the suites' order; a suite may lack a model. */
  readonly cells: readonly (ReportCell | undefined)[];
}

export interface ReportTable {
  readonly suites: readonly string[];
  readonly lines: readonly ReportLine[];
  /** Bounds of all intervals, nats per byte. */
  readonly low: number;
  readonly high: number;
  readonly hasAccuracy: boolean;
}

export function reportTable(suites: Report['suites'], baseline: string): ReportTable {
  const keys = new Map<string, ReportRow['role']>();
  for (const role of order) {
    for (const { rows } of suites) for (const row of rows) if (row.role === role) keys.set(rowKey(row), role);
  }
  const all = suites.flatMap(({ rows }) => rows);
  return {
    suites: suites.map(({ suite }) => suite),
    lines: [...keys].map(([key, role]) => ({
      key,
      role,
      cells: suites.map(({ rows }) => {
        const row = rows.find((other) => rowKey(other) === key);
        const base = rows.find((other) => rowKey(other) === baseline);
        if (!row) return undefined;
        if (!base || base === row) return { row };
        return { row, difference: row.nllPerByte - base.nllPerByte, change: changeOf(row, base) };
      }),
    })),
    low: Math.min(...all.map((row) => row.low)),
    high: Math.max(...all.map((row) => row.high)),
    hasAccuracy: all.some((row) => row.accuracy !== undefined),
  };
}

type Interval = Pick<ReportRow, 'low' | 'high'>;

function changeOf(row: Interval, base: Interval): Change {
  if (row.high < base.low) return 'better';
  return row.low > base.high ? 'worse' : 'within';
}

export interface Verdict {
  readonly better: readonly string[];
  readonly worse: readonly string[];
  readonly within: readonly string[];
}

/** The merged model against SFT-only, suite by suite; undefined where a report lacks one of them. */
export function verdictOf(suites: Report['suites']): Verdict | undefined {
  const verdict = { better: [] as string[], worse: [] as string[], within: [] as string[] };
  for (const { suite, rows } of suites) {
    const merged = rows.find((row) => row.role === 'merged');
    const sft = rows.find((row) => row.role === 'sft');
    if (merged && sft) verdict[changeOf(merged, sft)].push(suite);
  }
  const { better, worse, within } = verdict;
  return better.length + worse.length + within.length > 0 ? verdict : undefined;
}

/** The verdict in one sentence that names what was lost. */
export function verdictSentence({ better, worse, within }: Verdict): string {
  const total = better.length + worse.length + within.length;
  const suites = total === 1 ? 'suite' : 'suites';
  const head =
    better.length === total
      ? `Fused is better than SFT-only in ${total === 1 ? 'the one suite' : `all ${total} ${suites}`}`
      : `Fused is better than SFT-only in ${better.length} of ${total} ${suites}`;
  const parts = [head];
  if (worse.length > 0) parts.push(`worse in ${worse.join(', ')}`);
  if (within.length > 0) parts.push(`within the intervals in ${within.join(', ')}`);
  return `${parts.join('; ')}.`;
}
