import { alignConversation, keptEntries } from '../align/alignConversation.ts';
import { MATCH_REASONS, pairRows } from '../align/pairing.ts';
import { projectRow, SparseRow } from '../align/project.ts';
import type { Representation } from '../align/representation.ts';
import type { VocabularyMap } from '../align/vocabularyMap.ts';
import { type FuseOptions, fuseConversation } from '../distill/fusedTargets.ts';
import type { Tokenizer } from '../models/tokenizer.ts';
import type { AlignmentView, LaneToken } from './protocol.ts';
import { tokenLabel } from './tokenLabel.ts';

/** One model's reading of a conversation. */
export interface Reading {
  readonly tokenizer: Tokenizer;
  readonly rows: Representation;
}

/**
 * The last answer of a conversation as both models read it.
 * @param text the answer
 * @param map of the source's vocabulary to the pivot's
 * @param options of the recipe: what counts as aligned, and who teaches
 */
export function alignmentView(
  text: string,
  pivot: Reading,
  source: Reading,
  map: VocabularyMap,
  options: FuseOptions,
): AlignmentView {
  const segment = pivot.rows.segmentBytes.length - 1;
  const ours = laneTokens(pivot.rows, segment);
  const theirs = laneTokens(source.rows, segment);
  const laneOf = new Map(theirs.map((token, index) => [token, index]));
  const paired = pairRows(pivot.rows, source.rows).source;
  const aligned = alignConversation(pivot.rows, source.rows, map, options.minimumMass);
  const { chosen, nllPerByte } = fuseConversation(pivot.rows, source.rows, map, options, aligned);
  const scratch = new SparseRow();
  return {
    text,
    pivot: ours.map((token) => laneToken(pivot, token)),
    source: theirs.map((token) => laneToken(source, token)),
    pairs: ours.map((token) => {
      const from = paired[token - 1] ?? -1;
      return {
        source: from < 0 ? -1 : (laneOf.get(from + 1) ?? -1),
        reason: MATCH_REASONS[aligned.reasons[token - 1] ?? -1] ?? 'not-scored',
        mass: aligned.mass[token - 1] ?? 0,
      };
    }),
    projected: ours.map((token) => {
      const from = aligned.source[token - 1] ?? -1;
      if (from < 0) return [];
      projectRow(...keptEntries(source.rows, from), map, scratch);
      return scratch.ids
        .map((id, at) => ({
          text: tokenLabel(pivot.tokenizer, id),
          probability: scratch.probabilities[at] ?? 0,
        }))
        .sort((a, b) => b.probability - a.probability);
    }),
    chosen: chosen === 'source' ? 'source' : 'pivot',
    nllPerByte,
  };
}

/** Tokens that stand for bytes of an answer, in order. */
function laneTokens({ segments, byteEnds }: Representation, segment: number): number[] {
  const tokens: number[] = [];
  byteEnds.forEach((end, token) => {
    const inside = token > 0 && segments[token] === segment;
    if (inside && end > startOf(byteEnds, token)) tokens.push(token);
  });
  return tokens;
}

/** Where a token of an answer starts in it: at the end of the one before, which is at 0 or unmarked at the start. */
function startOf(byteEnds: Int32Array, token: number): number {
  return Math.max(0, byteEnds[token - 1] ?? 0);
}

function laneToken({ tokenizer, rows }: Reading, token: number): LaneToken {
  const id = rows.tokens[token] ?? -1;
  const [ids, logProbs] = keptEntries(rows, token - 1);
  return {
    id,
    text: tokenLabel(tokenizer, id),
    start: startOf(rows.byteEnds, token),
    end: rows.byteEnds[token] ?? 0,
    nll: -(rows.labelLogProb[token - 1] ?? 0),
    top: Array.from(ids, (other, entry) => ({
      id: other,
      text: tokenLabel(tokenizer, other),
      probability: Math.exp(logProbs[entry] ?? -Infinity),
    })),
  };
}
