import { useElementSize } from '@mantine/hooks';
import { type KeyboardEvent, memo, useMemo, useRef, useState } from 'react';
import type { AlignmentView, LaneToken } from '../../pipeline/protocol.ts';
import type { Identity } from '../state/identity.ts';
import { visibleWhitespace } from './format.ts';
import { ModelBadge } from './ModelBadge.tsx';
import { ribbonWords } from './reasons.ts';
import classes from './TokenLanes.module.css';
import {
  acrossFrom,
  type Chip,
  fitLanes,
  type Lane,
  type LaneLink,
  type LaneRow,
  linksOf,
} from './tokenLanes.ts';

export interface TokenPlace {
  readonly lane: Lane;
  readonly index: number;
}

const ribbonHeight = 30;

/** Two lanes of token chips over the same bytes, joined by ribbons; a grid for the keyboard. */
export function TokenLanes({
  view,
  pivot,
  source,
  chosen,
  shaded,
  glyphs,
  onPlace,
  onInspect,
}: {
  readonly view: AlignmentView;
  readonly pivot: Identity;
  readonly source: Identity;
  readonly chosen: TokenPlace | undefined;
  /** Whether chips are shaded by how unexpected they were. */
  readonly shaded: boolean;
  /** Whether whitespace is drawn. */
  readonly glyphs: boolean;
  /** The token under the pointer, or none. */
  readonly onPlace: (place: TokenPlace | undefined) => void;
  readonly onInspect: (place: TokenPlace, raise: boolean) => void;
}) {
  const { ref, width } = useElementSize();
  const root = useRef<HTMLDivElement>(null);
  const [hovered, setHovered] = useState<TokenPlace>();
  const { unit, rows } = useMemo(
    () => (width > 0 ? fitLanes(view, width) : { unit: 1, rows: [] }),
    [view, width],
  );
  const links = useMemo(() => linksOf(view), [view]);
  const current = chosen ?? { lane: 'pivot' as const, index: 0 };
  const lit = groupOf(hovered ?? chosen, links);

  const place = (next: TokenPlace | undefined) => {
    setHovered(next);
    onPlace(next);
  };
  const goTo = (next: TokenPlace) => {
    onInspect(next, false);
    root.current?.querySelector<HTMLElement>(`[data-chip="${next.lane} ${next.index}"]`)?.focus();
  };
  const press = (event: KeyboardEvent) => {
    const { lane, index } = current;
    const last = view[lane].length - 1;
    const moves: Readonly<Record<string, TokenPlace>> = {
      ArrowRight: { lane, index: Math.min(last, index + 1) },
      ArrowLeft: { lane, index: Math.max(0, index - 1) },
      Home: { lane, index: 0 },
      End: { lane, index: last },
      ArrowDown: lane === 'pivot' ? { lane: 'source', index: acrossFrom(view, lane, index) } : current,
      ArrowUp: lane === 'source' ? { lane: 'pivot', index: acrossFrom(view, lane, index) } : current,
    };
    const next = moves[event.key];
    if (next) goTo(next);
    else if (event.key === 'Enter' || event.key === ' ') onInspect(current, true);
    else return;
    event.preventDefault();
  };

  return (
    <div className={classes.frame}>
      <div ref={ref} className={classes.measure} />
      {/* biome-ignore lint/a11y/useSemanticElements: a table cannot break its rows over the page as text does */}
      <div
        ref={root}
        className={classes.lanes}
        role="grid"
        aria-label={`Tokens of ${pivot.label} above, of ${source.label} below`}
        style={{
          '--unit': `${unit}px`,
          '--glyphs': `${Math.min(16, 11 + unit / 5)}px`,
          '--pivot': `var(--tone-${pivot.tone})`,
          '--source': `var(--tone-${source.tone})`,
        }}
        onKeyDown={press}
        onMouseLeave={() => place(undefined)}
      >
        {rows.map((row, index) => (
          <Row
            // biome-ignore lint/suspicious/noArrayIndexKey: rows have no name but their place
            key={index}
            row={row}
            view={view}
            unit={unit}
            shaded={shaded}
            glyphs={glyphs}
            badges={index === 0 ? { pivot, source } : undefined}
            litPivot={touches(row.pivot, lit.pivot) ? lit.pivot : none}
            litSource={touches(row.source, lit.source) ? lit.source : none}
            current={current}
            isChosen={chosen !== undefined}
            onHover={place}
            onInspect={onInspect}
          />
        ))}
      </div>
    </div>
  );
}

const none: ReadonlySet<number> = new Set();

/** A token lights its partner, and a source token lights every pivot token that it covers. */
function groupOf(place: TokenPlace | undefined, links: readonly LaneLink[]) {
  if (!place) return { pivot: none, source: none };
  const source = place.lane === 'source' ? place.index : (links[place.index]?.source ?? -1);
  const pivot = new Set(place.lane === 'pivot' ? [place.index] : []);
  for (const [index, link] of links.entries()) if (source >= 0 && link.source === source) pivot.add(index);
  return { pivot, source: source >= 0 ? new Set([source]) : none };
}

const touches = (chips: readonly Chip[], lit: ReadonlySet<number>) =>
  chips.some((chip) => lit.has(chip.index));

interface RowProps {
  readonly row: LaneRow;
  readonly view: AlignmentView;
  readonly unit: number;
  readonly shaded: boolean;
  readonly glyphs: boolean;
  readonly badges: Readonly<Record<Lane, Identity>> | undefined;
  readonly litPivot: ReadonlySet<number>;
  readonly litSource: ReadonlySet<number>;
  readonly current: TokenPlace;
  readonly isChosen: boolean;
  readonly onHover: (place: TokenPlace) => void;
  readonly onInspect: (place: TokenPlace, raise: boolean) => void;
}

const Row = memo(function Row(props: RowProps) {
  const { row, view, unit, badges, litPivot, litSource } = props;
  const lit = { pivot: litPivot, source: litSource };
  const lane = (name: Lane) => (
    // biome-ignore lint/a11y/useSemanticElements: see the grid above
    // biome-ignore lint/a11y/useFocusableInteractive: its cells take the focus
    <div role="row" className={classes.lane} data-lane={name} aria-label={name}>
      {row[name].map((chip) => {
        const token = view[name][chip.index];
        return token ? (
          <ChipView
            key={chip.index}
            {...props}
            lane={name}
            chip={chip}
            token={token}
            isLit={lit[name].has(chip.index)}
          />
        ) : null;
      })}
    </div>
  );
  const width = row.width * unit;
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the grid above
    <div role="rowgroup" className={classes.row} style={{ width: `${width}px` }}>
      <Rules row={row} unit={unit} />
      {badges ? (
        <span className={classes.badges} aria-hidden="true">
          <ModelBadge identity={badges.pivot} size={14} />
          <ModelBadge identity={badges.source} size={14} />
        </span>
      ) : null}
      {lane('pivot')}
      <svg className={classes.ribbons} width={width} height={ribbonHeight} aria-hidden="true">
        {row.ribbons.map(({ pivot, source, kind, top, bottom }) => {
          const [a, b] = [top[0] * unit + 1, top[1] * unit - 1];
          const [c, d] = [bottom[0] * unit + 1, bottom[1] * unit - 1];
          const half = ribbonHeight / 2;
          const path = `M${a} 0C${a} ${half} ${c} ${half} ${c} ${ribbonHeight}H${d}C${d} ${half} ${b} ${half} ${b} 0Z`;
          return (
            <path key={pivot} d={path} data-kind={kind} data-lit={litPivot.has(pivot) || undefined}>
              <title>{`${ribbonWords[kind]} (${source})`}</title>
            </path>
          );
        })}
      </svg>
      {lane('source')}
    </div>
  );
});

function Rules({ row, unit }: { readonly row: LaneRow; readonly unit: number }) {
  return row.rules.map((edge) => (
    <span key={edge} className={classes.rule} style={{ left: `${edge * unit}px` }} aria-hidden="true" />
  ));
}

function ChipView({
  chip,
  token,
  lane,
  isLit,
  view,
  unit,
  shaded,
  glyphs,
  current,
  isChosen,
  onHover,
  onInspect,
}: RowProps & {
  readonly chip: Chip;
  readonly token: LaneToken;
  readonly lane: Lane;
  readonly isLit: boolean;
}) {
  const place = { lane, index: chip.index };
  const isCurrent = current.lane === lane && current.index === chip.index;
  const reason = lane === 'pivot' ? view.pairs[chip.index]?.reason : undefined;
  const shade = shaded ? Math.min(0.62, token.nll * 0.13) : 0;
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the grid above
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid takes the keys for its cells
    <span
      role="gridcell"
      tabIndex={isCurrent && !chip.cutLeft ? 0 : -1}
      data-chip={chip.cutLeft ? undefined : `${lane} ${chip.index}`}
      data-reason={reason}
      data-lit={isLit || undefined}
      data-chosen={(isChosen && isCurrent) || undefined}
      data-cut-left={chip.cutLeft || undefined}
      data-cut-right={chip.cutRight || undefined}
      data-empty={token.start === token.end || undefined}
      className={classes.chip}
      style={{ left: `${chip.from * unit}px`, width: `${(chip.to - chip.from) * unit}px`, '--shade': shade }}
      aria-label={`${visibleWhitespace(token.text) || 'empty'}, token ${token.id}${shaded ? `, ${token.nll.toFixed(2)} nats` : ''}`}
      onMouseEnter={() => onHover(place)}
      onClick={() => onInspect(place, true)}
    >
      {chip.cutLeft ? '' : chipText(token, glyphs)}
    </span>
  );
}

/** A lone byte is shown by its hex digits; whitespace as glyphs where asked, and newlines always. */
function chipText(token: LaneToken, glyphs: boolean): string {
  const byte = /^<0x([0-9a-f]{2})>$/i.exec(token.text);
  if (byte) return byte[1] ?? '';
  return glyphs ? visibleWhitespace(token.text) : token.text.replace(/\n/g, '↵').replace(/\t/g, '→');
}
