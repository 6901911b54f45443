import { MATCH_REASONS, type MatchReason, pairRows, reasonCode } from './pairing.ts';
import { projectRow, SparseRow, survivingShare } from './project.ts';
import { contentNll, type Representation } from './representation.ts';
import { MAP_RULES, type MapRule, type VocabularyMap } from './vocabularyMap.ts';

/** How one conversation's pivot rows find rows of the source. */
export interface Alignment {
  /** [N] the source row for each pivot row, −1 where there is none (then the reason says why). */
  readonly source: Int32Array;
  /** [N] indices into `MATCH_REASONS`. */
  readonly reasons: Uint8Array;
  /** [N] share of the source row's kept mass that has a place in the pivot's vocabulary, 0…1; 0 where unpaired. */
  readonly mass: Float32Array;
}

/** Pairs rows and projects each, so that rows that lose more than `minimumMass` allows are masked (methods J4, J5). */
export function alignConversation(
  pivot: Representation,
  source: Representation,
  map: VocabularyMap,
  minimumMass: number,
): Alignment {
  const { source: rows, reasons } = pairRows(pivot, source);
  const mass = new Float32Array(rows.length);
  const scratch = new SparseRow();
  rows.forEach((from, row) => {
    if (from < 0) return;
    const share = survivingShare(projectRow(...keptEntries(source, from), map, scratch));
    mass[row] = share;
    if (share >= minimumMass) return;
    rows[row] = -1;
    reasons[row] = reasonCode('low-mass');
  });
  return { source: rows, reasons, mass };
}

/** Ids and log-probabilities [K] of one row, as views. */
export function keptEntries(representation: Representation, row: number): [Uint32Array, Float32Array] {
  const { topK } = representation;
  const [start, end] = [row * topK, (row + 1) * topK];
  return [representation.topIds.subarray(start, end), representation.topLogProbs.subarray(start, end)];
}

/** What a whole data set's alignment looks like; see `AlignmentTally`. */
export interface AlignmentCounts {
  /** Share of the pivot's scored rows that have a row of the source, 0…1. */
  readonly coverage: number;
  readonly reasons: Readonly<Record<MatchReason, number>>;
  /** Shares of the probability of paired source rows by the rule that mapped it; `outside` is beyond the kept K. */
  readonly mapping: Readonly<Record<string, number>>;
  readonly tokensPerByte: { readonly pivot: number; readonly source: number };
}

/** Adds up alignments of conversations. */
export class AlignmentTally {
  readonly #reasons = new Map<MatchReason, number>();
  readonly #mass = new Map<MapRule | 'outside', number>();
  readonly #pivot = { tokens: 0, bytes: 0 };
  readonly #source = { tokens: 0, bytes: 0 };

  add(pivot: Representation, source: Representation, alignment: Alignment, map: VocabularyMap): void {
    for (const code of alignment.reasons) {
      const reason = MATCH_REASONS[code] ?? 'not-scored';
      this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    }
    const paired = pairRows(pivot, source).source;
    for (const from of paired) if (from >= 0) this.#addRow(source, from, map);
    count(this.#pivot, pivot);
    count(this.#source, source);
  }

  #addRow(source: Representation, row: number, map: VocabularyMap): void {
    const [ids, logProbs] = keptEntries(source, row);
    let outside = 1;
    ids.forEach((id, entry) => {
      const probability = Math.exp(logProbs[entry] ?? -Infinity);
      if (!(probability > 0)) return;
      const rule = map.rule(id);
      this.#mass.set(rule, (this.#mass.get(rule) ?? 0) + probability);
      outside -= probability;
    });
    this.#mass.set('outside', (this.#mass.get('outside') ?? 0) + Math.max(0, outside));
  }

  counts(): AlignmentCounts {
    const reasons = {
      paired: this.#reasons.get('paired') ?? 0,
      'inside-source-token': this.#reasons.get('inside-source-token') ?? 0,
      'low-mass': this.#reasons.get('low-mass') ?? 0,
      'not-scored': this.#reasons.get('not-scored') ?? 0,
      'past-end': this.#reasons.get('past-end') ?? 0,
    };
    const scored =
      reasons.paired + reasons['inside-source-token'] + reasons['low-mass'] + reasons['past-end'];
    let total = 0;
    for (const mass of this.#mass.values()) total += mass;
    const mapping: Record<string, number> = {};
    for (const rule of [...MAP_RULES, 'outside'] as const) {
      const mass = this.#mass.get(rule);
      if (mass !== undefined && mass > 0) mapping[rule] = mass / total;
    }
    const rate = ({ tokens, bytes }: { tokens: number; bytes: number }) => (bytes > 0 ? tokens / bytes : 0);
    return {
      coverage: scored > 0 ? reasons.paired / scored : 0,
      reasons,
      mapping,
      tokensPerByte: { pivot: rate(this.#pivot), source: rate(this.#source) },
    };
  }
}

function count(into: { tokens: number; bytes: number }, representation: Representation): void {
  representation.scored.forEach((flag, row) => {
    if (flag === 1 && (representation.byteEnds[row + 1] ?? -1) >= 0) into.tokens++;
  });
  into.bytes += contentNll(representation).bytes;
}
