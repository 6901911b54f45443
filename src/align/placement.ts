/** One token of a rendered conversation and the UTF-8 bytes [start, end) of the rendered text that it stands for. */
export interface TokenSpan {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** One assistant message in the rendered text: bytes [start, end) of its content. */
export interface ContentSpan {
  readonly start: number;
  readonly end: number;
  /** Bytes of the message that stand nowhere, left out before `start`: 0 by default. Places count them. */
  readonly skipped?: number;
  /** Where the end of its turn ends; tokens of white space may stand before it. By default it begins at `end`. */
  readonly turnEnd?: number;
  /** The answer was cut short on purpose: the end of its turn is not trained. */
  readonly openEnd?: boolean;
}

export interface Placement {
  /** [N] index of the assistant message, −1 outside. */
  readonly segments: Int32Array;
  /** [N] end of the token in bytes of its message; see `Representation.byteEnds`. */
  readonly byteEnds: Int32Array;
  /** [N] 1 where the next token is trainable. */
  readonly scored: Uint8Array;
  /** [segments] length of each message in bytes. */
  readonly segmentBytes: Uint32Array;
}

/**
 * Finds the assistant's text among the tokens (methods C.5): a token is trainable iff its span lies inside the content,
 * or it is the end-of-turn token behind the content. Tokens between the two, which some templates write, are not:
 * other models end the turn in their place. A token that reaches over an edge of the content is not
 * trained on, and what it covers of the content is not scored; after one at the start rows pair again from its end.
 *
 * @param tokens in order; special tokens have the span of their own text or an empty one at their place.
 * @param contents in order, not overlapping.
 * @param endOfTurn ids that end a turn.
 */
export function placeTokens(
  tokens: readonly TokenSpan[],
  contents: readonly ContentSpan[],
  endOfTurn: readonly number[],
): Placement {
  const count = tokens.length;
  const segments = new Int32Array(count).fill(-1);
  const byteEnds = new Int32Array(count).fill(-1);
  const scored = new Uint8Array(count);
  const ends = new Set(endOfTurn);
  const trainable = (token: number) => {
    if (token > 0) scored[token - 1] = 1;
  };
  let next = 0;
  contents.forEach((content, segment) => {
    const { skipped = 0, turnEnd = content.end } = content;
    while (next < count && isBefore(tokens[next], content)) next++;
    const before = tokens[next - 1];
    if (before !== undefined && before.end === content.start && byteEnds[next - 1] === -1) {
      segments[next - 1] = segment;
      byteEnds[next - 1] = skipped;
    }
    for (; next < count; next++) {
      const token = tokens[next];
      if (token === undefined || token.end > content.end || ends.has(token.id)) break;
      segments[next] = segment;
      byteEnds[next] = skipped + token.end - content.start;
      if (token.start >= content.start) trainable(next);
    }
    if (content.openEnd === true || (tokens[next]?.start ?? -1) < content.end) return;
    const closing = tokens.findIndex(({ id, end }, at) => at >= next && (ends.has(id) || end > turnEnd));
    const last = tokens[closing];
    if (last && ends.has(last.id) && (last.start === content.end || last.end <= turnEnd)) trainable(closing);
  });
  return {
    segments,
    byteEnds,
    scored,
    segmentBytes: Uint32Array.from(contents, ({ start, end, skipped = 0 }) => skipped + end - start),
  };
}

/**
 * Whether a token comes before the content: it ends before it, or at its start. An empty token at the start (a special
 * of zero width) counts as before: the row that predicts the content is the last one there.
 */
function isBefore(token: TokenSpan | undefined, content: ContentSpan): boolean {
  return token !== undefined && token.end <= content.start;
}
