/** Why a pivot token has, or lacks, a row of the source. The index in this list is the stored code. */
export const MATCH_REASONS = ['paired', 'inside-source-token', 'low-mass', 'not-scored', 'past-end'] as const;

export type MatchReason = (typeof MATCH_REASONS)[number];

/** Where the tokens of one model lie in a conversation; a `Representation` is one. */
export interface TokenPlaces {
  readonly segments: ArrayLike<number>;
  readonly byteEnds: ArrayLike<number>;
  readonly scored: ArrayLike<number>;
}

export interface Pairing {
  /** [N] the source row that has read the same bytes as the pivot's row, or −1. */
  readonly source: Int32Array;
  /** [N] indices into `MATCH_REASONS`; never `low-mass` here. */
  readonly reasons: Uint8Array;
}

/** The stored code of a reason. */
export function reasonCode(reason: MatchReason): number {
  return MATCH_REASONS.indexOf(reason);
}

/**
 * Pairs rows by byte end-offsets, message by message (methods A.8): two rows may be paired iff both models have read
 * the same bytes of the message. O(N + M), no edit distances, no ties.
 *
 * Several tokens may end at one place (a lone dummy space at the start): the last of them predicts what follows, on
 * either side. `past-end`: the source never came this far (cut short, or its template does not end the turn).
 */
export function pairRows(pivot: TokenPlaces, source: TokenPlaces): Pairing {
  const count = pivot.byteEnds.length;
  const rows = new Int32Array(count).fill(-1);
  const reasons = new Uint8Array(count).fill(reasonCode('not-scored'));
  const places = lastRowAtEachEnd(source);
  for (let row = 0; row < count; row++) {
    if (pivot.scored[row] !== 1) continue;
    const segment = pivot.segments[row] ?? -1;
    const end = pivot.byteEnds[row] ?? -1;
    const superseded = pivot.byteEnds[row + 1] === end && pivot.segments[row + 1] === segment;
    const place = places[segment];
    const found = place?.rows.get(end);
    let reason: MatchReason = 'inside-source-token';
    if (place === undefined || end > place.last) reason = 'past-end';
    else if (found !== undefined && !superseded) {
      reason = source.scored[found] === 1 ? 'paired' : 'past-end';
      if (reason === 'paired') rows[row] = found;
    }
    reasons[row] = reasonCode(reason);
  }
  return { source: rows, reasons };
}

interface SegmentRows {
  /** End offset → the last row that ends there. */
  readonly rows: Map<number, number>;
  last: number;
}

function lastRowAtEachEnd(places: TokenPlaces): SegmentRows[] {
  const result: SegmentRows[] = [];
  for (let row = 0; row < places.byteEnds.length; row++) {
    const segment = places.segments[row] ?? -1;
    const end = places.byteEnds[row] ?? -1;
    if (segment < 0 || end < 0) continue;
    result[segment] ??= { rows: new Map(), last: -1 };
    result[segment].rows.set(end, row);
    result[segment].last = end;
  }
  return result;
}
