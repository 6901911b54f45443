import { formatShare } from './format.ts';
import classes from './StackedBar.module.css';

export interface BarPart {
  readonly name: string;
  readonly share: number;
  /** A CSS background. */
  readonly fill: string;
  readonly title?: string;
}

/** Shares of a whole as one bar with its legend; parts of nothing are left out. */
export function StackedBar({ label, parts }: { readonly label: string; readonly parts: readonly BarPart[] }) {
  const shown = parts.filter((part) => part.share > 0);
  return (
    <figure className={classes.figure}>
      <figcaption className={classes.caption}>{label}</figcaption>
      <div className={classes.bar} aria-hidden="true">
        {shown.map(({ name, share, fill, title }) => (
          <span key={name} title={title ?? name} style={{ flexGrow: share, background: fill }} />
        ))}
      </div>
      <ul className={classes.legend}>
        {shown.map(({ name, share, fill, title }) => (
          <li key={name} title={title}>
            <span className={classes.swatch} style={{ background: fill }} aria-hidden="true" />
            <span className={classes.name}>{name}</span>
            <span className="num">{formatShare(share)}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}
