import { memo } from 'react';
import type { ChatToken } from '../../pipeline/protocol.ts';
import classes from './ProbabilityText.module.css';

/**
 * Text of a model, token by token, underlined where the model was unsure. It is untrusted: it becomes text nodes and
 * nothing else. A click on a token tells which one.
 */
export function ProbabilityText({
  tokens,
  length,
  chosen,
  onToken,
}: {
  readonly tokens: readonly ChatToken[];
  /** How many tokens there are; a stream grows in place, and this number is what changes. */
  readonly length: number;
  readonly chosen: number | undefined;
  readonly onToken: (index: number) => void;
}) {
  return (
    <p className={classes.text}>
      {tokens.slice(0, length).map(({ text, probability }, index) => (
        <Token
          // biome-ignore lint/suspicious/noArrayIndexKey: tokens are only ever appended
          key={index}
          text={text}
          probability={probability}
          index={index}
          isChosen={chosen === index}
          onToken={onToken}
        />
      ))}
    </p>
  );
}

const Token = memo(function Token({
  text,
  probability,
  index,
  isChosen,
  onToken,
}: ChatToken & {
  readonly index: number;
  readonly isChosen: boolean;
  readonly onToken: (index: number) => void;
}) {
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the inspector repeats for the keyboard what a click shows
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    <span
      className={classes.token}
      data-chosen={isChosen || undefined}
      style={{ '--doubt': `${Math.round(100 * (1 - probability))}%` }}
      title={`${Math.round(100 * probability)} %`}
      onClick={() => onToken(index)}
    >
      {text}
    </span>
  );
});
