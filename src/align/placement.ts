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
 * or it is an end-of-turn token right where the content ends. A token that reaches over an edge of the content is not
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
    while (next < count && isBefore(tokens[next], content)) next++;
    const before = tokens[next - 1];
    if (before !== undefined && before.end === content.start && byteEnds[next - 1] === -1) {
      segments[next - 1] = segment;
      byteEnds[next - 1] = 0;
    }
    for (; next < count; next++) {
      const token = tokens[next];
      if (token === undefined || token.end > content.end || ends.has(token.id)) break;
      segments[next] = segment;
      byteEnds[next] = token.end - content.start;
      if (token.start >= content.start) trainable(next);
    }
    const closing = tokens[next];
    const ended = closing !== undefined && closing.start === content.end && ends.has(closing.id);
    if (ended && content.openEnd !== true) trainable(next);
  });
  return {
    segments,
    byteEnds,
    scored,
    segmentBytes: Uint32Array.from(contents, (content) => content.end - content.start),
  };
}

/**
 * Whether a token comes before the content: it ends before it, or at its start. An empty token at the start (a special
 * of zero width) counts as before: the row that predicts the content is the last one there.
 */
function isBefore(token: TokenSpan | undefined, content: ContentSpan): boolean {
  return token !== undefined && token.end <= content.start;
}
