import type { AlignmentView } from '../../../pipeline/protocol.ts';
import { formatShare, visibleWhitespace } from '../../views/format.ts';
import { reasonWords } from '../../views/reasons.ts';
import type { TokenPlace } from '../../views/TokenLanes.tsx';
import classes from './AlignStage.module.css';

/** One line about the token under the pointer; it keeps its height, so that nothing jumps. */
export function TokenReadout({
  view,
  place,
  tokensOnly,
}: {
  readonly view: AlignmentView;
  readonly place: TokenPlace | undefined;
  readonly tokensOnly: boolean;
}) {
  const token = place ? view[place.lane][place.index] : undefined;
  if (!place || !token) {
    return (
      <p className={classes.readout}>
        Point at a token for its numbers; click it for what the models expected.
      </p>
    );
  }
  const pair = place.lane === 'pivot' ? view.pairs[place.index] : undefined;
  return (
    <p className={`${classes.readout} num`}>
      <strong>{visibleWhitespace(token.text) || '∅'}</strong>
      <span>{place.lane}</span>
      <span>id {token.id}</span>
      <span>
        bytes {token.start}–{token.end}
      </span>
      {tokensOnly ? null : <span>{token.nll.toFixed(2)} nats</span>}
      {pair ? <span>{reasonWords[pair.reason].name}</span> : null}
      {pair && pair.source >= 0 && !tokensOnly ? (
        <span>{formatShare(pair.mass)} of the row’s mass kept</span>
      ) : null}
    </p>
  );
}
