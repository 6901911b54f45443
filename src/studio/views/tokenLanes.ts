/**
 * Where the chips and ribbons of two tokenizations of one text go. Everything is measured in units of one UTF-8 byte, so
 * that equal boundaries line up; tokens without bytes (an end of turn, say) get room of their own on that axis.
 */
import type { AlignmentView, MatchReason } from '../../pipeline/protocol.ts';

export type Lane = 'pivot' | 'source';

/** Width of a token that has no bytes. */
const emptyUnits = 2;

export interface Chip {
  /** Token index in its lane. */
  readonly index: number;
  /** From the row's left edge, in bytes. */
  readonly from: number;
  readonly to: number;
  /** The token goes on in the row before or after. */
  readonly cutLeft: boolean;
  readonly cutRight: boolean;
}

/** What joins a pivot token with a source token. */
export type RibbonKind = 'exact' | 'uneven' | 'inside-source-token' | 'low-mass';

export interface Ribbon {
  readonly pivot: number;
  readonly source: number;
  readonly kind: RibbonKind;
  /** The pivot chip's width. */
  readonly top: readonly [number, number];
  /** The bytes of the source chip that it shares. */
  readonly bottom: readonly [number, number];
}

export interface LaneRow {
  readonly width: number;
  readonly pivot: readonly Chip[];
  readonly source: readonly Chip[];
  /** Boundaries that both tokenizers have. */
  readonly rules: readonly number[];
  readonly ribbons: readonly Ribbon[];
}

interface Span {
  readonly from: number;
  readonly to: number;
}

export interface LaneLink {
  readonly source: number;
  readonly kind: RibbonKind | undefined;
  readonly reason: MatchReason;
}

/** Pixels of a byte: below the first a glyph no longer fits, above the second nothing is gained. */
const narrowestUnit = 9;
const widestUnit = 36;

/** A row ends at a common boundary, which may lie a little before its room is used up. */
const slackUnits = 8;

export interface FittedLanes {
  /** Pixels of a byte. */
  readonly unit: number;
  readonly rows: readonly LaneRow[];
}

/** As few rows as the width allows, all about as long, with chips as wide as that leaves room for. */
export function fitLanes(view: Laned, width: number): FittedLanes {
  const units = laneUnits(view);
  const most = Math.max(1, Math.floor(width / narrowestUnit));
  if (units <= most) return { unit: Math.min(widestUnit, width / units), rows: layoutLanes(view, units) };
  const least = Math.ceil(units / most);
  // Where the boundaries are unlucky, one row more than the least is needed; spread over it, none is left nearly empty.
  for (let count = least; ; count++) {
    const capacity = Math.min(most, Math.ceil(units / count) + slackUnits);
    const rows = layoutLanes(view, capacity);
    if (rows.length <= count || count >= least + 2) return { unit: width / capacity, rows };
  }
}

type Laned = Pick<AlignmentView, 'pivot' | 'source' | 'pairs'>;
type Bytes = { readonly start: number; readonly end: number };

/**
 * Breaks the text into rows of at most `capacity` bytes, at boundaries common to both lanes where there is one.
 * @param capacity bytes a row holds
 */
export function layoutLanes(view: Laned, capacity: number): readonly LaneRow[] {
  const spans = placeTokens(view.pivot, view.source);
  const total = Math.max(0, ...spans.pivot.map((span) => span.to), ...spans.source.map((span) => span.to));
  const common = commonEdges(spans.pivot, spans.source);
  const links = linksOf(view);
  return breakRows(total, common, Math.max(1, capacity)).map(([from, to]) => {
    const pivot = chipsIn(spans.pivot, from, to);
    const source = chipsIn(spans.source, from, to);
    return {
      width: to - from,
      pivot,
      source,
      rules: common.filter((edge) => edge >= from && edge <= to).map((edge) => edge - from),
      ribbons: ribbonsBetween(pivot, source, links),
    };
  });
}

/** Total length of the axis in bytes, with the room of empty tokens. */
export function laneUnits(view: Laned): number {
  const spans = placeTokens(view.pivot, view.source);
  return Math.max(1, ...spans.pivot.map((span) => span.to), ...spans.source.map((span) => span.to));
}

/** For every pivot token: the source token it is joined with, if any, and how. */
export function linksOf({ pivot, source, pairs }: Laned): readonly LaneLink[] {
  return pivot.map((token, index) => {
    const pair = pairs[index];
    const reason = pair?.reason ?? 'past-end';
    const partner = pair ? source[pair.source] : undefined;
    if (pair && partner && reason === 'paired') {
      const exact = partner.start === token.start && partner.end === token.end;
      return { source: pair.source, kind: exact ? 'exact' : 'uneven', reason };
    }
    if (pair && partner && reason === 'low-mass') return { source: pair.source, kind: 'low-mass', reason };
    if (reason === 'inside-source-token') {
      const around = source.findIndex((other) => other.start <= token.start && token.start < other.end);
      if (around >= 0) return { source: around, kind: 'inside-source-token', reason };
    }
    return { source: -1, kind: undefined, reason };
  });
}

function placeTokens(pivot: readonly Bytes[], source: readonly Bytes[]) {
  const room = new Map<number, number>();
  for (const lane of [pivot, source]) {
    const here = new Map<number, number>();
    for (const { start, end } of lane)
      if (start === end) here.set(start, (here.get(start) ?? 0) + emptyUnits);
    for (const [offset, width] of here) room.set(offset, Math.max(room.get(offset) ?? 0, width));
  }
  const offsets = [...room.keys()].sort((a, b) => a - b);
  /** Where an offset's own room begins. */
  const before = (offset: number) =>
    offset + offsets.reduce((sum, other) => sum + (other < offset ? (room.get(other) ?? 0) : 0), 0);
  const place = (lane: readonly Bytes[]): readonly Span[] => {
    const used = new Map<number, number>();
    return lane.map(({ start, end }) => {
      if (start !== end) return { from: before(start) + (room.get(start) ?? 0), to: before(end) };
      const taken = used.get(start) ?? 0;
      used.set(start, taken + emptyUnits);
      return { from: before(start) + taken, to: before(start) + taken + emptyUnits };
    });
  };
  return { pivot: place(pivot), source: place(source) };
}

function commonEdges(pivot: readonly Span[], source: readonly Span[]): readonly number[] {
  const edges = (spans: readonly Span[]) => new Set(spans.flatMap(({ from, to }) => [from, to]));
  const theirs = edges(source);
  return [...edges(pivot)].filter((edge) => theirs.has(edge)).sort((a, b) => a - b);
}

function breakRows(
  total: number,
  common: readonly number[],
  capacity: number,
): readonly (readonly [number, number])[] {
  const rows: (readonly [number, number])[] = [];
  let from = 0;
  while (from < total) {
    const limit = from + capacity;
    const start = from;
    const edge =
      limit >= total ? total : (common.findLast((other) => other > start && other <= limit) ?? limit);
    rows.push([from, edge]);
    from = edge;
  }
  return rows;
}

function chipsIn(spans: readonly Span[], from: number, to: number): readonly Chip[] {
  return spans.flatMap((span, index) =>
    span.to > from && span.from < to
      ? [
          {
            index,
            from: Math.max(span.from, from) - from,
            to: Math.min(span.to, to) - from,
            cutLeft: span.from < from,
            cutRight: span.to > to,
          },
        ]
      : [],
  );
}

function ribbonsBetween(
  pivot: readonly Chip[],
  source: readonly Chip[],
  links: readonly LaneLink[],
): readonly Ribbon[] {
  const below = new Map(source.map((chip) => [chip.index, chip]));
  return pivot.flatMap((chip) => {
    const link = links[chip.index];
    const partner = link ? below.get(link.source) : undefined;
    if (!link?.kind || !partner) return [];
    return [
      {
        pivot: chip.index,
        source: partner.index,
        kind: link.kind,
        top: [chip.from, chip.to] as const,
        bottom: [Math.max(chip.from, partner.from), Math.min(chip.to, partner.to)] as const,
      },
    ];
  });
}

/** The token of the other lane that begins at, or covers, the middle of a token. */
export function acrossFrom(view: Laned, lane: Lane, index: number): number {
  const token = view[lane][index];
  const others = view[lane === 'pivot' ? 'source' : 'pivot'];
  if (!token) return 0;
  const middle = (token.start + token.end) / 2;
  const at = others.findIndex((other) => other.start <= middle && middle < other.end);
  return at >= 0 ? at : Math.max(0, others.length - 1);
}
