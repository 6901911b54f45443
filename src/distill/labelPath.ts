import { keptEntries } from '../align/alignConversation.ts';
import type { Representation } from '../align/representation.ts';
import type { TokenBytes } from '../align/vocabulary.ts';

/**
 * How the source spells the pivot's label at a paired row (distillation.md 5).
 * `same`: as one token. `head`: the source's token is longer and begins with it. `span`: the source needs several
 * tokens. `end`: both end the turn. `other`: not to be told from what is stored.
 */
export type LabelPath = 'same' | 'head' | 'span' | 'end' | 'other';

/** Both vocabularies' bytes and the ids that end a turn. */
export interface LabelVocabularies {
  readonly pivot: TokenBytes;
  readonly source: TokenBytes;
}

/** Classifies a pair of next tokens that begin at the same byte. */
export function labelPath(
  label: number,
  sourceNext: number,
  { pivot, source }: LabelVocabularies,
): LabelPath {
  const labelEnds = pivot.vocabulary.endOfTurn.includes(label);
  const sourceEnds = source.vocabulary.endOfTurn.includes(sourceNext);
  if (labelEnds || sourceEnds) return labelEnds && sourceEnds ? 'end' : 'other';
  const wanted = pivot.of(label);
  const spelt = source.of(sourceNext);
  if (!wanted || !spelt) return 'other';
  if (spelt === wanted) return 'same';
  if (spelt.startsWith(wanted)) return 'head';
  return wanted.startsWith(spelt) ? 'span' : 'other';
}

/**
 * Probability that the source's text goes on with `bytes` along the tokens that it really reads: the product of the
 * true tokens' probabilities while they lie inside, times the mass of all known tokens that cover the rest. A lower
 * bound of the probability that the text goes on with `bytes` (other spellings and tokens beyond the kept ones are
 * not counted).
 *
 * @param row the source row that predicts the first byte.
 * @returns `undefined` where the source's tokens leave these bytes or end before them.
 */
export function spanProbability(
  source: Representation,
  row: number,
  bytes: string,
  tokenBytes: TokenBytes,
): number | undefined {
  let logProduct = 0;
  let rest = bytes;
  for (let at = row; source.scored[at] === 1; at++) {
    const next = tokenBytes.of(source.tokens[at + 1] ?? -1);
    if (next === undefined) return undefined;
    if (next.startsWith(rest)) return Math.exp(logProduct) * coveringMass(source, at, rest, tokenBytes);
    if (!rest.startsWith(next)) return undefined;
    rest = rest.slice(next.length);
    logProduct += source.labelLogProb[at] ?? -Infinity;
  }
  return undefined;
}

/** Probability of the kept entries and the true next token whose bytes begin with `rest`. */
function coveringMass(source: Representation, row: number, rest: string, tokenBytes: TokenBytes): number {
  const next = source.tokens[row + 1];
  let mass = Math.exp(source.labelLogProb[row] ?? -Infinity);
  const [ids, logProbs] = keptEntries(source, row);
  ids.forEach((id, entry) => {
    if (id !== next && tokenBytes.of(id)?.startsWith(rest)) mass += Math.exp(logProbs[entry] ?? -Infinity);
  });
  return Math.min(1, mass);
}
