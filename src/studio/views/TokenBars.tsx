import { formatShare, visibleWhitespace } from './format.ts';
import classes from './TokenBars.module.css';

export interface TokenBar {
  readonly text: string;
  readonly probability: number;
  /** Where a tick is drawn: the probability to compare with. */
  readonly reference?: number;
  /** The token that stands in the text. */
  readonly isTrue?: boolean;
}

/** Likeliest tokens with their probabilities, one bar each. */
export function TokenBars({
  bars,
  tone,
  label,
  wide = false,
  scale = 1,
}: {
  readonly bars: readonly TokenBar[];
  readonly tone: string;
  readonly label: string;
  readonly wide?: boolean;
  /** The probability that a full bar stands for; the same for lists that are to be compared. */
  readonly scale?: number;
}) {
  return (
    <ol
      className={classes.bars}
      aria-label={label}
      data-wide={wide || undefined}
      style={{ '--tone': `var(--tone-${tone})` }}
    >
      {bars.map(({ text, probability, reference, isTrue }, rank) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: two entries may have the same text
        <li key={`${text} ${rank}`} data-true={isTrue || undefined}>
          <span className={classes.text} title={text}>
            {visibleWhitespace(text) || '∅'}
          </span>
          <span className={classes.track}>
            <span className={classes.bar} style={{ width: `${(100 * probability) / scale}%` }} />
            {reference === undefined ? null : (
              <span className={classes.tick} style={{ left: `${(100 * reference) / scale}%` }} />
            )}
          </span>
          <span className={`${classes.value} num`}>{formatShare(probability)}</span>
        </li>
      ))}
    </ol>
  );
}
