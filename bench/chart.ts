import { isReached, reachedShare, type TargetRow, withUnit } from './targetRow.ts';

const [WIDTH, ROW, LABEL, FIGURE] = [860, 30, 380, 90];
/** Bars end at twice the target; the line at their middle is the target. */
const MOST = 2;

const escaped = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** The table of targets drawn: a bar a row on one scale, the share of the target that is reached. */
export function targetChart(rows: readonly TargetRow[], title: string): string {
  const drawn = rows.filter((row) => reachedShare(row) !== undefined);
  const height = 56 + ROW * drawn.length;
  const span = WIDTH - LABEL - FIGURE - 20;
  const mark = LABEL + span / MOST;
  const lines = drawn.map((row, index) => {
    const y = 44 + ROW * index;
    const length = (span * Math.min(MOST, reachedShare(row) ?? 0)) / MOST;
    const kind = isReached(row) ? 'reached' : 'missed';
    return `<text x="${LABEL - 10}" y="${y + 14}" text-anchor="end">${escaped(row.what)}</text>
<rect class="${kind}" x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${ROW - 10}" rx="2"/>
<text x="${LABEL + length + 6}" y="${y + 14}">${escaped(withUnit(row.value ?? Number.NaN, row.unit))}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">
<style>
text { font: 13px system-ui, sans-serif; fill: #333; }
.title { font-weight: 600; }
.reached { fill: #2b8a5a; }
.missed { fill: #c2663a; }
.mark { stroke: #333; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) { text { fill: #ddd; } .mark { stroke: #ddd; } }
</style>
<text class="title" x="10" y="20">${escaped(title)}</text>
<line class="mark" x1="${mark}" y1="30" x2="${mark}" y2="${height - 6}"/>
<text x="${mark + 4}" y="34">target</text>
${lines.join('\n')}
</svg>
`;
}
