import { AlloyError } from '../util/errors.ts';

/**
 * One conversation as one model reads it, teacher-forced. N tokens, K kept entries of a row.
 *
 * Row i is the distribution over token i + 1 after tokens 0…i (row N − 1 predicts past the end). Rows that are not
 * scored hold ids 0 and log-probabilities −Infinity, boundary mass 0 and label 0, so that a stored file is canonical.
 */
export interface Representation {
  /** The conversation's id. */
  readonly id: string;
  /** K. */
  readonly topK: number;
  /** [N] */
  readonly tokens: Uint32Array;
  /** [N] which assistant message the token belongs to (0, 1, …), −1 outside. */
  readonly segments: Int32Array;
  /**
   * [N] where the token ends, in UTF-8 bytes of its assistant message. The last template token before a message has
   * its segment and 0; tokens elsewhere, the end-of-turn token among them, have −1.
   */
  readonly byteEnds: Int32Array;
  /** [N] 1 where token i + 1 is trainable: content of an assistant message, or the end of its turn. */
  readonly scored: Uint8Array;
  /** [N, K] the most likely next tokens, most likely first. */
  readonly topIds: Uint32Array;
  /** [N, K] their natural log-probabilities over the whole vocabulary. */
  readonly topLogProbs: Float32Array;
  /** [N] log p(token i + 1), exact (from the whole row, not from the kept entries). */
  readonly labelLogProb: Float32Array;
  /** [N] β: probability of all tokens that begin with white space or are special. */
  readonly boundaryMass: Float32Array;
  /** Length of every assistant message in bytes, [segments]. */
  readonly segmentBytes: Uint32Array;
}

/** Likelihood of the assistant's text, end-of-turn tokens left out. */
export interface ContentNll {
  readonly nats: number;
  readonly bytes: number;
}

/**
 * Sums −log p of content tokens and counts their bytes.
 * @param limits [segments] count only tokens that end at or before this byte of their message; all by default.
 */
export function contentNll(representation: Representation, limits?: ArrayLike<number>): ContentNll {
  const { byteEnds, segments, scored, labelLogProb } = representation;
  let nats = 0;
  let bytes = 0;
  for (let row = 0; row + 1 < byteEnds.length; row++) {
    if (scored[row] !== 1) continue;
    const end = byteEnds[row + 1] ?? -1;
    if (end < 0) continue;
    const segment = segments[row + 1] ?? -1;
    if (limits !== undefined && end > (limits[segment] ?? -1)) continue;
    nats -= labelLogProb[row] ?? Number.NaN;
    bytes += end - Math.max(0, byteEnds[row] ?? 0);
  }
  return { nats, bytes };
}

/** Nats per byte of the assistant's text; NaN where no byte is scored. */
export function nllPerByte(representation: Representation): number {
  const { nats, bytes } = contentNll(representation);
  return bytes === 0 ? Number.NaN : nats / bytes;
}

/**
 * Likelihoods of two models on the bytes that both scored: where one was cut short, the other is counted to the last
 * token boundary that both have, so that MinCE compares the same text (methods J7).
 */
export function comparableNll(
  a: Representation,
  b: Representation,
): { readonly a: ContentNll; readonly b: ContentNll } {
  const ends = (representation: Representation): Set<number>[] => {
    const sets = Array.from(representation.segmentBytes, () => new Set<number>());
    representation.byteEnds.forEach((end, token) => {
      const counted = end === 0 || representation.scored[token - 1] === 1;
      if (end >= 0 && counted) sets[representation.segments[token] ?? -1]?.add(end);
    });
    return sets;
  };
  const inA = ends(a);
  const inB = ends(b);
  const limits = inA.map((set, segment) => {
    let limit = -1;
    for (const end of set) if (end > limit && inB[segment]?.has(end)) limit = end;
    return limit;
  });
  return { a: contentNll(a, limits), b: contentNll(b, limits) };
}

/** Room for rounding in stored f32 log-probabilities. */
const MASS_SLACK = 1e-3;

/**
 * Checks that shapes agree and that the rows are log-probabilities of one distribution each.
 * @throws AlloyError `bad-file` naming the field.
 */
export function checkRepresentation(representation: Representation, name = representation.id): void {
  const { topK, tokens, scored, topLogProbs, labelLogProb, byteEnds, segments } = representation;
  const count = tokens.length;
  const fail = (field: string, problem: string): never => {
    throw new AlloyError(
      'bad-file',
      `The representation of ${name} is damaged: ${field} ${problem}; delete it and run again.`,
    );
  };
  const sized = { segments, byteEnds, scored, labelLogProb, boundaryMass: representation.boundaryMass };
  for (const [field, array] of Object.entries(sized)) {
    if (array.length !== count) fail(field, `has ${array.length} entries for ${count} tokens`);
  }
  for (const field of ['topIds', 'topLogProbs'] as const) {
    if (representation[field].length !== count * topK) fail(field, `is not ${count} × ${topK}`);
  }
  for (let token = 0; token < count; token++) {
    const segment = segments[token] ?? -1;
    const end = byteEnds[token] ?? -1;
    if (end >= 0 && !(end <= (representation.segmentBytes[segment] ?? -1))) {
      fail('byteEnds', `leaves its message at token ${token}`);
    }
    if (scored[token] !== 1) continue;
    if (token + 1 === count) fail('scored', 'marks the last row, which has no next token');
    let mass = 0;
    for (let entry = token * topK; entry < (token + 1) * topK; entry++) {
      mass += Math.exp(topLogProbs[entry] ?? 0);
    }
    if (!(mass <= 1 + MASS_SLACK)) fail('topLogProbs', `sums to a probability of ${mass} in row ${token}`);
    if (!((labelLogProb[token] ?? Number.NaN) <= MASS_SLACK)) {
      fail('labelLogProb', `is not a log-probability in row ${token}`);
    }
  }
}
