import type { ReactNode } from 'react';
import classes from './Panel.module.css';

/** A titled surface; the unit that stages are laid out from. */
export function Panel({
  title,
  note,
  tools,
  children,
  flush = false,
  grow = false,
}: {
  readonly title?: ReactNode;
  /** Quiet words after the title: a count, a unit. */
  readonly note?: ReactNode;
  readonly tools?: ReactNode;
  readonly children: ReactNode;
  /** Content touches the edges. */
  readonly flush?: boolean;
  readonly grow?: boolean;
}) {
  return (
    <section className={classes.panel} data-grow={grow || undefined}>
      {title || tools ? (
        <header className={classes.head}>
          {title ? <h2 className={classes.title}>{title}</h2> : null}
          {note ? <span className={classes.note}>{note}</span> : null}
          {tools ? <div className={classes.tools}>{tools}</div> : null}
        </header>
      ) : null}
      <div className={flush ? classes.flush : classes.body}>{children}</div>
    </section>
  );
}
