import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type BenchReport, loadWords } from './report.ts';
import { isReached, type TargetRow, withUnit } from './targetRow.ts';

/*
 * docs/performance.md has a section for every adapter that the bench ran on, between two comments that name it; what
 * stands outside of them is left as it is.
 */

const words = (row: TargetRow) => {
  const reached = isReached(row);
  return reached === undefined ? '' : reached ? 'reached' : 'missed';
};

/** What a section says of the machine. */
export type Measured = Pick<BenchReport, 'adapter' | 'node' | 'cores' | 'load' | 'versions'>;

export function adapterSection(report: Measured, rows: readonly TargetRow[], day: string): string {
  const peers = Object.entries(report.versions)
    .map((entry) => entry.join(' '))
    .join(', ');
  const lines = rows.map((row) => {
    const target =
      row.target === undefined ? '–' : `${row.less ? '≤' : '≥'} ${withUnit(row.target, row.unit)}`;
    const value = row.value === undefined ? '–' : withUnit(row.value, row.unit);
    return `| ${row.what} | ${target} | ${value} | ${words(row)} | ${row.note} |`;
  });
  return `## ${report.adapter}

${day}, Node ${report.node.replace('v', '')}, ${peers}; ${loadWords(report)}.

| what | target | now | | from |
|---|---|---|---|---|
${lines.join('\n')}
`;
}

/** Puts the section in place of the adapter's old one, or at the end. */
export function withSection(document: string, adapter: string, section: string): string {
  const [begin, end] = [`<!-- bench: ${adapter} -->`, `<!-- end of bench: ${adapter} -->`];
  const block = `${begin}\n${section}${end}`;
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) return `${document.trimEnd()}\n\n${block}\n`;
  return `${document.slice(0, from)}${block}${document.slice(to + end.length)}`;
}

export function writeSection(file: string, report: Measured, rows: readonly TargetRow[]): void {
  const known = existsSync(file) ? readFileSync(file, 'utf8') : '# Performance\n';
  const day = new Date().toISOString().slice(0, 10);
  writeFileSync(file, withSection(known, report.adapter, adapterSection(report, rows, day)));
}
