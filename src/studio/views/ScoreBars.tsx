import { formatShare } from './format.ts';
import classes from './ScoreBars.module.css';

/** Share of right answers by domain; what the model is for stands out. */
export function ScoreBars({
  scores,
  strong,
  tone,
}: {
  readonly scores: readonly { readonly name: string; readonly share: number }[];
  readonly strong: ReadonlySet<string>;
  readonly tone: string;
}) {
  return (
    <dl className={classes.scores} style={{ '--tone': `var(--tone-${tone})` }}>
      {scores.map(({ name, share }) => (
        <div key={name} className={classes.row} data-strong={strong.has(name) || undefined}>
          <dt>{name}</dt>
          <dd>
            <span className={classes.track} aria-hidden="true">
              <span className={classes.bar} style={{ width: `${100 * Math.min(1, Math.max(0, share))}%` }} />
            </span>
            <span className={`${classes.value} num`}>{formatShare(share)}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
