import type { Identity } from '../state/identity.ts';
import { formatShare, formatSigned } from './format.ts';
import { ModelBadge } from './ModelBadge.tsx';
import classes from './ReportGrid.module.css';
import type { ReportCell, ReportLine, ReportTable } from './reportTable.ts';

/** Every model in every suite: the number, its interval on one scale, and the difference to the baseline. */
export function ReportGrid({
  table,
  metric,
  baseline,
  identify,
}: {
  readonly table: ReportTable;
  readonly metric: 'nll' | 'accuracy';
  /** A row's key. */
  readonly baseline: string | undefined;
  readonly identify: (line: ReportLine) => Identity;
}) {
  const { suites, lines, low, high } = table;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls sideways must be reachable by keyboard
    <section className={classes.scroll} aria-label="Report" tabIndex={0}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Model</th>
            {suites.map((suite) => (
              <th key={suite} scope="col">
                {suite}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines
            .map((line) => ({ ...line, identity: identify(line) }))
            .map(({ key, role, cells, identity }) => (
              <tr key={key} data-role={role} data-baseline={key === baseline || undefined}>
                <th scope="row">
                  <span className={classes.model}>
                    <ModelBadge identity={identity} named />
                    {key === baseline ? <span className={classes.pin}>baseline</span> : null}
                  </span>
                </th>
                {cells.map((cell, index) => (
                  <td key={suites[index]} className="num">
                    {cell === undefined ? (
                      <span className="quiet">–</span>
                    ) : metric === 'nll' ? (
                      <NllCell cell={cell} low={low} high={high} tone={identity.tone} />
                    ) : (
                      <AccuracyCell cell={cell} tone={identity.tone} />
                    )}
                  </td>
                ))}
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}

const changeMarks = { better: '▼', worse: '▲', within: '' } as const;
const changeWords = {
  better: 'better than the baseline',
  worse: 'worse than the baseline',
  within: 'cannot be told from the baseline',
} as const;

function NllCell({
  cell,
  low,
  high,
  tone,
}: {
  readonly cell: ReportCell;
  readonly low: number;
  readonly high: number;
  readonly tone: string;
}) {
  const { row, difference, change } = cell;
  const place = (value: number) => (high > low ? (100 * (value - low)) / (high - low) : 50);
  const title = `${row.nllPerByte.toFixed(4)} nats per byte, interval ${row.low.toFixed(4)} to ${row.high.toFixed(4)}`;
  return (
    <div className={classes.cell} title={title}>
      <span className={classes.value}>
        {row.nllPerByte.toFixed(3)}
        {difference === undefined || change === undefined ? null : (
          <span className={classes.change} data-change={change}>
            {changeMarks[change]}
            {formatSigned(difference)}
            <span className="visually-hidden"> {changeWords[change]}</span>
          </span>
        )}
      </span>
      <span className={classes.interval} style={{ '--tone': `var(--tone-${tone})` }} aria-hidden="true">
        <span
          className={classes.whisker}
          style={{ left: `${place(row.low)}%`, width: `${place(row.high) - place(row.low)}%` }}
        />
        <span className={classes.point} style={{ left: `${place(row.nllPerByte)}%` }} />
      </span>
    </div>
  );
}

function AccuracyCell({ cell, tone }: { readonly cell: ReportCell; readonly tone: string }) {
  const { accuracy } = cell.row;
  if (accuracy === undefined) return <span className="quiet">–</span>;
  return (
    <div className={classes.cell}>
      <span className={classes.value}>{formatShare(accuracy)}</span>
      <span className={classes.track} style={{ '--tone': `var(--tone-${tone})` }} aria-hidden="true">
        <span style={{ width: `${100 * accuracy}%` }} />
      </span>
    </div>
  );
}
