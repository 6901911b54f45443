import { type Alignment, alignConversation } from '../align/alignConversation.ts';
import { reasonCode } from '../align/pairing.ts';
import { SparseRow } from '../align/project.ts';
import { comparableNll, nllPerByte, type Representation } from '../align/representation.ts';
import type { VocabularyMap } from '../align/vocabularyMap.ts';
import type { LabelPath } from './labelPath.ts';
import { minCe } from './minCe.ts';
import { ownTailRow, publishedRow, tailRow, writeRow } from './targetRow.ts';

/** What a row to learn from is made of; the index in this list is the stored code. */
export const TARGET_KINDS = ['own', 'same', 'head', 'span', 'end', 'published'] as const;

export type TargetKind = (typeof TARGET_KINDS)[number];

/** `tail`: exact label and one rest class. `renormalised`: the published row, scaled to sum 1. */
export type TargetLoss = 'tail' | 'renormalised';

export interface FuseOptions {
  readonly loss: TargetLoss;
  /** `mince`: the model with the smaller NLL per byte. `source`: always the source. */
  readonly choice: 'mince' | 'source';
  /** Rows that keep a smaller share of their mass in the pivot's vocabulary are masked. */
  readonly minimumMass: number;
}

/** The rows that one conversation teaches, R of them, W = K + 1 entries each, in the pivot's vocabulary. */
export interface ConversationTargets {
  readonly id: string;
  /** `dropped`: neither model scored a byte of it (J7); it is not trained on at all. */
  readonly chosen: 'pivot' | 'source' | 'dropped';
  /** Nats per byte over the bytes that both models scored; NaN where there is none. */
  readonly nllPerByte: { readonly pivot: number; readonly source: number };
  /** W */
  readonly width: number;
  /** [R] the pivot row (token position) of each, ascending. */
  readonly rows: Uint32Array;
  /** [R, W] */
  readonly ids: Uint32Array;
  /** [R, W] */
  readonly probabilities: Float32Array;
  /** [R] used entries; the others are 0. */
  readonly counts: Uint32Array;
  /** [R] indices into `TARGET_KINDS`. */
  readonly kinds: Uint8Array;
  /** [N] indices into `MATCH_REASONS`: how the pivot's rows found rows of the source, whoever was chosen. */
  readonly reasons: Uint8Array;
}

/**
 * Chooses the teacher of one conversation and makes its rows. Rows without a partner are masked, not filled with a
 * one-hot label: that would count supervision twice (methods J4).
 *
 * @param map of the source's vocabulary: `BOUND_RULES` for the loss `tail`, `PROJECTION_RULES` for `renormalised`.
 * @param aligned saves the work where it is known already.
 */
export function fuseConversation(
  pivot: Representation,
  source: Representation,
  map: VocabularyMap,
  options: FuseOptions,
  aligned: Alignment = alignConversation(pivot, source, map, options.minimumMass),
): ConversationTargets {
  const likelihoods = comparablePerByte(pivot, source);
  const candidates =
    options.choice === 'source' ? [Number.NaN, likelihoods.source] : Object.values(likelihoods);
  const chosen = (['pivot', 'source'] as const)[minCe(candidates)] ?? 'dropped';
  const reasons = aligned.reasons.slice();
  const builder = new TargetBuilder(pivot, Math.max(pivot.topK, source.topK) + 1);
  const scratch = new SparseRow();
  for (let row = 0; row < pivot.tokens.length && chosen !== 'dropped'; row++) {
    if (chosen === 'pivot') {
      if (pivot.scored[row] !== 1) continue;
      ownRow(pivot, row, options.loss, scratch);
      builder.add(row, 'own', scratch);
      continue;
    }
    const from = aligned.source[row] ?? -1;
    if (from < 0) continue;
    const path = sourceRow(pivot, row, source, from, map, options.loss, scratch);
    if (path === 'other') reasons[row] = reasonCode('low-mass');
    else builder.add(row, path, scratch);
  }
  return { id: pivot.id, chosen, nllPerByte: likelihoods, ...builder.finish(), reasons };
}

function ownRow(pivot: Representation, row: number, loss: TargetLoss, into: SparseRow): void {
  if (loss === 'tail') ownTailRow(pivot, row, into);
  else publishedRow(pivot, row, { target: (id) => id }, into);
}

function sourceRow(
  pivot: Representation,
  row: number,
  source: Representation,
  from: number,
  map: VocabularyMap,
  loss: TargetLoss,
  into: SparseRow,
): TargetKind | Extract<LabelPath, 'other'> {
  if (loss === 'tail') return tailRow(pivot, row, source, from, map, into);
  publishedRow(source, from, map, into);
  return 'published';
}

/** On the bytes that both scored; on each model's own where they have none in common. */
function comparablePerByte(pivot: Representation, source: Representation) {
  const { a, b } = comparableNll(pivot, source);
  return a.bytes > 0 && b.bytes > 0
    ? { pivot: a.nats / a.bytes, source: b.nats / b.bytes }
    : { pivot: nllPerByte(pivot), source: nllPerByte(source) };
}

class TargetBuilder {
  readonly #pivot: Representation;
  readonly #width: number;
  readonly #rows: number[] = [];
  readonly #counts: number[] = [];
  readonly #kinds: number[] = [];
  readonly #ids: Uint32Array;
  readonly #probabilities: Float32Array;

  constructor(pivot: Representation, width: number) {
    this.#pivot = pivot;
    this.#width = width;
    const most = pivot.scored.reduce((sum, flag) => sum + flag, 0) * width;
    this.#ids = new Uint32Array(most);
    this.#probabilities = new Float32Array(most);
  }

  add(row: number, kind: TargetKind, entries: SparseRow): void {
    const label = kind === 'published' ? -1 : (this.#pivot.tokens[row + 1] ?? -1);
    const at = this.#rows.length * this.#width;
    this.#rows.push(row);
    this.#counts.push(writeRow(entries, label, this.#width, this.#ids, this.#probabilities, at));
    this.#kinds.push(TARGET_KINDS.indexOf(kind));
  }

  finish() {
    const used = this.#rows.length * this.#width;
    return {
      width: this.#width,
      rows: Uint32Array.from(this.#rows),
      ids: this.#ids.slice(0, used),
      probabilities: this.#probabilities.slice(0, used),
      counts: Uint32Array.from(this.#counts),
      kinds: Uint8Array.from(this.#kinds),
    };
  }
}

/** Buffers of one batch: ids and probabilities [rows, W], counts [rows]; see `SparseTeacher` in kernels. */
export interface TeacherBuffers {
  readonly ids: Uint32Array;
  readonly probabilities: Float32Array;
  readonly counts: Uint32Array;
}

/**
 * Writes a conversation's rows where its tokens stand in a batch of [B, T] rows.
 * @param firstRow index of the conversation's token 0 in the batch.
 * @param tokens T; rows at or beyond it are left out.
 */
export function writeTargets(
  targets: ConversationTargets,
  firstRow: number,
  tokens: number,
  into: TeacherBuffers,
): void {
  const { width } = targets;
  targets.rows.forEach((row, index) => {
    if (row >= tokens) return;
    const at = (firstRow + row) * width;
    into.ids.set(targets.ids.subarray(index * width, (index + 1) * width), at);
    into.probabilities.set(targets.probabilities.subarray(index * width, (index + 1) * width), at);
    into.counts[firstRow + row] = targets.counts[index] ?? 0;
  });
}
