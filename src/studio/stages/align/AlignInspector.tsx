import type { AlignmentView, LaneToken } from '../../../pipeline/protocol.ts';
import { useIdentity } from '../../app/useIdentity.ts';
import { useAlign } from '../../state/align.ts';
import { useLayout } from '../../state/layout.ts';
import { FactList } from '../../views/FactList.tsx';
import { formatShare, hexBytes, visibleWhitespace } from '../../views/format.ts';
import { InspectorSection } from '../../views/InspectorSection.tsx';
import { ModelBadge } from '../../views/ModelBadge.tsx';
import { reasonWords } from '../../views/reasons.ts';
import { TokenBars } from '../../views/TokenBars.tsx';
import { linksOf } from '../../views/tokenLanes.ts';

/** What both models expected at the chosen token, and what of it reaches the pivot. */
export function AlignInspector() {
  const focus = useLayout((state) => state.focus);
  const { view, source, tokensOnly } = useAlign();
  const identify = useIdentity();
  const token = focus?.kind === 'token' ? view?.[focus.lane][focus.index] : undefined;
  if (!view || focus?.kind !== 'token' || !token || !source) {
    return (
      <InspectorSection title="Token">
        <p>
          Click a token, or move with the arrow keys, to see its id, its bytes and what each model expected
          there.
        </p>
        <p>
          A full-height line is a boundary that both tokenizers have. Where a pivot token starts on one, the
          source’s expectation can be taught.
        </p>
      </InspectorSection>
    );
  }
  const link = focus.lane === 'pivot' ? linksOf(view)[focus.index] : undefined;
  const lane = focus.lane === 'pivot' ? identify('pivot') : identify(source);
  return (
    <>
      <InspectorSection title={<ModelBadge identity={lane} named />}>
        <FactList
          facts={[
            [
              'Text',
              <span key="text" className="mono">
                {visibleWhitespace(token.text) || '∅'}
              </span>,
            ],
            ['Id', `${token.id}`],
            ['Place', `token ${focus.index + 1}, bytes ${token.start}–${token.end}`],
            [
              'Bytes',
              <span key="bytes" className="mono">
                {hexBytes(bytesOf(view, token))}
              </span>,
            ],
            ...(tokensOnly ? [] : [['Surprise', surprise(token)] as const]),
          ]}
        />
        {link ? (
          <p>
            <strong>{reasonWords[link.reason].name}.</strong> {reasonWords[link.reason].meaning}
            {link.source >= 0 && view.pairs[focus.index]?.source !== -1 && !tokensOnly
              ? ` ${formatShare(view.pairs[focus.index]?.mass ?? 0)} of the row’s mass is kept.`
              : ''}
          </p>
        ) : null}
      </InspectorSection>
      {tokensOnly ? null : <Rows view={view} lane={focus.lane} index={focus.index} source={source} />}
    </>
  );
}

function bytesOf(view: AlignmentView, token: LaneToken): Uint8Array {
  return new TextEncoder().encode(view.text).slice(token.start, token.end);
}

function surprise(token: LaneToken): string {
  return `${token.nll.toFixed(3)} nats (it had ${formatShare(Math.exp(-token.nll))})`;
}

function Rows({
  view,
  lane,
  index,
  source,
}: {
  readonly view: AlignmentView;
  readonly lane: 'pivot' | 'source';
  readonly index: number;
  readonly source: string;
}) {
  const identify = useIdentity();
  const links = linksOf(view);
  const pivotIndex =
    lane === 'pivot'
      ? index
      : links.findIndex((link) => link.source === index && link.kind !== 'inside-source-token');
  const sourceIndex = lane === 'source' ? index : (view.pairs[index]?.source ?? -1);
  const ours = view.pivot[pivotIndex];
  const theirs = view.source[sourceIndex];
  const projected = view.projected[pivotIndex] ?? [];
  const shown = [...(ours?.top ?? []), ...(theirs?.top ?? []), ...projected];
  const scale = Math.max(0.05, ...shown.map((entry) => entry.probability));
  const bars = (token: LaneToken) => token.top.map((entry) => ({ ...entry, isTrue: entry.id === token.id }));
  return (
    <>
      {ours ? (
        <InspectorSection title="Pivot expected">
          <TokenBars bars={bars(ours)} tone="pivot" scale={scale} label="Likeliest tokens of the pivot" />
        </InspectorSection>
      ) : null}
      {theirs ? (
        <InspectorSection title="Source expected">
          <TokenBars
            bars={bars(theirs)}
            tone={identify(source).tone}
            scale={scale}
            label="Likeliest tokens of the source"
          />
        </InspectorSection>
      ) : null}
      {projected.length > 0 ? (
        <InspectorSection title="Source’s row in the pivot’s tokens">
          <TokenBars
            bars={projected.map((entry) => ({ ...entry, isTrue: entry.text === ours?.text }))}
            tone={identify(source).tone}
            scale={scale}
            label="The source’s row carried over"
          />
          <p>
            {formatShare(projected.reduce((sum, entry) => sum + entry.probability, 0))} of the probability is
            named here; the rest stays one unnamed class.
          </p>
        </InspectorSection>
      ) : null}
    </>
  );
}
