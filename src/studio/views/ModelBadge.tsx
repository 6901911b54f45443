import type { Identity } from '../state/identity.ts';
import classes from './ModelBadge.module.css';

/** The letter and colour of a model; with `named` its title beside it. */
export function ModelBadge({
  identity,
  named = false,
  size = 18,
}: {
  readonly identity: Identity;
  readonly named?: boolean;
  readonly size?: number;
}) {
  const { letter, tone, label, hollow } = identity;
  const badge = (
    <span
      className={classes.badge}
      data-hollow={hollow || undefined}
      style={{ '--tone': `var(--tone-${tone})`, '--size': `${size}px` }}
      aria-hidden="true"
    >
      {letter}
    </span>
  );
  return (
    <span className={classes.named}>
      {badge}
      <span className={named ? classes.label : 'visually-hidden'} title={named ? label : undefined}>
        {label}
      </span>
    </span>
  );
}
