/** The comparison of a report, as numbers: rows in a fixed order, a scale a suite, differences, a verdict. */
import type { Report, ReportRow, ReportSuite } from '../../pipeline/protocol.ts';
import { shows } from '../../pipeline/reportText.ts';
import { type ReportScale, reportScale } from './reportScale.ts';

const order: readonly ReportRow['role'][] = ['pivot', 'source', 'sft', 'target', 'merged'];

/** A row's name, unique within a suite: models can share a role (two controls, two merges). */
export function rowKey(row: Pick<ReportRow, 'model' | 'role'>): string {
  return `${row.role} ${row.model}`;
}

/** The name by which `identityOf` knows a row's model. */
export function rowModel(
  { model, role }: Pick<ReportRow, 'model' | 'role'>,
  sources: readonly string[],
): string {
  if (role === 'source') return model;
  if (role !== 'target') return role;
  const source = sources.find(
    (name) => model === name || model.endsWith(` ${name}`) || model.endsWith(`:${name}`),
  );
  return `target:${source ?? model}`;
}

/** The row that a pinned baseline means: by its key, or the first of a role. */
export function baselineKey(suites: Report['suites'], pinned: string): string | undefined {
  const rows = suites.flatMap((suite) => suite.rows);
  const row = rows.find((other) => rowKey(other) === pinned) ?? rows.find((other) => other.role === pinned);
  return row ? rowKey(row) : undefined;
}

/** `few`: the suite has too few conversations to tell. */
export type Change = 'better' | 'worse' | 'within' | 'few';

export interface ReportCell {
  readonly row: ReportRow;
  /** To the baseline's value in nats per byte; absent for the baseline itself and without one. */
  readonly difference?: number;
  /** Against SFT-only by the paired interval of the report; against others only where the two intervals do not meet. */
  readonly change?: Change;
}

export interface ReportLine {
  readonly key: string;
  readonly role: ReportRow['role'];
  readonly model: string;
  /** One a suite, in the suites' order; a suite may lack a model. */
  readonly cells: readonly (ReportCell | undefined)[];
}

export interface ReportColumn extends Omit<ReportSuite, 'rows'> {
  readonly scale: ReportScale;
  /** The baseline's value, nats per byte. */
  readonly baseline: number | undefined;
}

export interface ReportTable {
  readonly columns: readonly ReportColumn[];
  readonly lines: readonly ReportLine[];
  readonly hasAccuracy: boolean;
}

/** @param baseline a row's key, as `baselineKey` gives it */
export function reportTable(suites: Report['suites'], baseline: string | undefined): ReportTable {
  const lines = new Map<string, ReportRow>();
  for (const role of order) {
    for (const { rows } of suites) for (const row of rows) if (row.role === role) lines.set(rowKey(row), row);
  }
  const all = suites.flatMap(({ rows }) => rows);
  return {
    columns: suites.map(({ rows, ...suite }) => ({
      ...suite,
      scale: reportScale(rows),
      baseline: rows.find((row) => rowKey(row) === baseline)?.nllPerByte,
    })),
    lines: [...lines].map(([key, { role, model }]) => ({
      key,
      role,
      model,
      cells: suites.map((suite) => {
        const row = suite.rows.find((other) => rowKey(other) === key);
        return row && cellOf(row, suite, baseline);
      }),
    })),
    hasAccuracy: all.some((row) => row.accuracy !== undefined),
  };
}

function cellOf(row: ReportRow, suite: ReportSuite, baseline: string | undefined): ReportCell {
  const base = suite.rows.find((other) => rowKey(other) === baseline);
  if (!base || base === row) return { row };
  return { row, difference: row.nllPerByte - base.nllPerByte, change: changeOf(row, base, suite) };
}

/** SFT-only: the control that the report's paired differences are to. */
const controlOf = (rows: readonly ReportRow[]) => rows.find((row) => row.role === 'sft');

function changeOf(row: ReportRow, base: ReportRow, { rows, tooFew }: ReportSuite): Change {
  if (tooFew) return 'few';
  if (!shows(row.nllPerByte - base.nllPerByte)) return 'within';
  if (base === controlOf(rows) && row.difference) {
    if (row.difference.high < 0) return 'better';
    return row.difference.low > 0 ? 'worse' : 'within';
  }
  if (row.high < base.low) return 'better';
  return row.low > base.high ? 'worse' : 'within';
}

export interface Verdict {
  /** Suites by what the fused model is there beside SFT-only. */
  readonly better: readonly string[];
  readonly worse: readonly string[];
  readonly within: readonly string[];
  readonly few: readonly string[];
  /** Suites in which another control (SFT-only at the fused model's norm) has the lower value. */
  readonly behindControl: readonly string[];
}

/** The recipe's merged model against SFT-only, suite by suite; undefined where a report lacks one of them. */
export function verdictOf(suites: Report['suites']): Verdict | undefined {
  const changes: Record<Change, string[]> = { better: [], worse: [], within: [], few: [] };
  const behindControl: string[] = [];
  for (const one of suites) {
    const { suite, rows, tooFew } = one;
    const merged = rows.find((row) => row.role === 'merged');
    const sft = controlOf(rows);
    if (!merged || !sft) continue;
    changes[changeOf(merged, sft, one)].push(suite);
    if (tooFew) continue;
    const others = rows.filter((row) => row.role === 'sft' && row !== sft);
    if (others.some((row) => row.nllPerByte < merged.nllPerByte)) behindControl.push(suite);
  }
  if (Object.values(changes).every((list) => list.length === 0)) return undefined;
  return { ...changes, behindControl };
}

/** The verdict in words that name every suite where something was lost. */
export function verdictSentence({ better, worse, within, few, behindControl }: Verdict): string {
  const total = better.length + worse.length + within.length;
  if (total === 0) return `Too few conversations to tell Fused from SFT-only in ${few.join(', ')}.`;
  const tooFew = few.length > 0 ? ` Too few to tell in ${few.join(', ')}.` : '';
  const suites = total === 1 ? 'suite' : 'suites';
  const head =
    better.length === total
      ? `Fused is better than SFT-only in ${total === 1 ? 'the one suite' : `all ${total} ${suites}`}`
      : `Fused is better than SFT-only in ${better.length} of ${total} ${suites}`;
  const parts = [head];
  if (worse.length > 0) parts.push(`worse in ${worse.join(', ')}`);
  if (within.length > 0) parts.push(`not to be told apart in ${within.join(', ')}`);
  const control =
    behindControl.length > 0
      ? ` SFT-only at the same norm is ahead of it in ${behindControl.join(', ')}.`
      : '';
  return `${parts.join('; ')}.${control}${tooFew}`;
}
