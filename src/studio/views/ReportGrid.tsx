import type { Identity } from '../state/identity.ts';
import { formatShare, formatSigned } from './format.ts';
import { ModelBadge } from './ModelBadge.tsx';
import classes from './ReportGrid.module.css';
import { placeOf, scaleLabels } from './reportScale.ts';
import type { ReportCell, ReportColumn, ReportLine, ReportTable } from './reportTable.ts';

/** Every model in every suite: the number, its interval on the suite's scale, and the difference to the baseline. */
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
  const { columns, lines } = table;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls sideways must be reachable by keyboard
    <section className={classes.scroll} aria-label="Report" tabIndex={0}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Model</th>
            {columns.map((column) => (
              <th key={column.suite} scope="col">
                <ColumnHead column={column} scaled={metric === 'nll'} />
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
                {columns.map((column, index) => {
                  const cell = cells[index];
                  return (
                    <td key={column.suite} className="num">
                      {cell === undefined ? (
                        <span className="quiet">–</span>
                      ) : metric === 'nll' ? (
                        <NllCell cell={cell} column={column} tone={identity.tone} />
                      ) : (
                        <AccuracyCell cell={cell} tone={identity.tone} />
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}

function ColumnHead({ column, scaled }: { readonly column: ReportColumn; readonly scaled: boolean }) {
  const { suite, conversations, tooFew, scale } = column;
  const [low, high] = scaleLabels(scale);
  const count = conversations === undefined ? undefined : `${conversations}`;
  return (
    <span className={classes.head}>
      <span>
        {suite}
        {count === undefined ? null : (
          <span
            className={classes.count}
            title={`${count} held-out conversations${tooFew ? ', too few to tell' : ''}`}
          >
            {tooFew ? `${count}, too few` : count}
          </span>
        )}
      </span>
      {scaled ? (
        <span className={`${classes.ends} num`} aria-hidden="true">
          <span>{low}</span>
          <span>{high}</span>
        </span>
      ) : null}
    </span>
  );
}

const changeMarks = { better: '▼', worse: '▲', within: '', few: '' } as const;
const changeWords = {
  better: 'better than the baseline',
  worse: 'worse than the baseline',
  within: 'cannot be told from the baseline',
  few: 'too few to tell',
} as const;

function NllCell({
  cell,
  column,
  tone,
}: {
  readonly cell: ReportCell;
  readonly column: ReportColumn;
  readonly tone: string;
}) {
  const { row, difference, change } = cell;
  const place = (value: number) => 100 * placeOf(value, column.scale);
  const within = (value: number) => Math.min(100, Math.max(0, place(value)));
  const [left, right] = [within(row.low), within(row.high)];
  const beyond = place(row.nllPerByte) > 100 ? 'right' : place(row.nllPerByte) < 0 ? 'left' : undefined;
  const title = [
    `${row.nllPerByte.toFixed(4)} nats per byte, interval ${row.low.toFixed(4)} to ${row.high.toFixed(4)}`,
    ...(beyond ? ['off the scale'] : []),
    ...(change ? [changeWords[change]] : []),
  ].join('; ');
  return (
    <div className={classes.cell} title={title}>
      <span className={classes.value}>
        {row.nllPerByte.toFixed(3)}
        {difference === undefined || change === undefined ? null : (
          <span className={classes.change} data-change={change}>
            {changeMarks[change]}
            {formatSigned(difference, Math.abs(difference) < 5e-4 ? 4 : 3)}
            <span className="visually-hidden"> {changeWords[change]}</span>
          </span>
        )}
      </span>
      <span className={classes.interval} style={{ '--tone': `var(--tone-${tone})` }} aria-hidden="true">
        {column.baseline === undefined ? null : (
          <span className={classes.reference} style={{ left: `${within(column.baseline)}%` }} />
        )}
        {right > left ? (
          <span className={classes.whisker} style={{ left: `${left}%`, width: `${right - left}%` }} />
        ) : null}
        {beyond ? (
          <span className={classes.beyond} data-side={beyond} />
        ) : (
          <span className={classes.point} style={{ left: `${place(row.nllPerByte)}%` }} />
        )}
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
