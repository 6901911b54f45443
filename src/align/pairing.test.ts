import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MATCH_REASONS, pairRows, type TokenPlaces } from './pairing.ts';
import { placeTokens } from './placement.ts';
import { warpTokens } from './timeWarping.ts';

/** Template token, content tokens, end of turn, in one message after another. */
function places(messages: readonly (readonly string[])[]): TokenPlaces {
  const template = 1000;
  const end = 1001;
  const tokens: { id: number; start: number; end: number }[] = [];
  const contents: { start: number; end: number }[] = [];
  let at = 0;
  const push = (id: number, bytes: number) => {
    tokens.push({ id, start: at, end: at + bytes });
    at += bytes;
  };
  for (const message of messages) {
    push(template, 5);
    const start = at;
    for (const text of message) push(1, new TextEncoder().encode(text).length);
    contents.push({ start, end: at });
    push(end, 7);
  }
  return placeTokens(tokens, contents, [end]);
}

const reasonsOf = (pairing: ReturnType<typeof pairRows>) =>
  Array.from(pairing.reasons, (code) => MATCH_REASONS[code]);

/** Pairs of the content tokens' own rows, for one message. */
function contentPairs(pivot: readonly string[], source: readonly string[]): (number | undefined)[] {
  const pairing = pairRows(places([pivot]), places([source]));
  return pivot.map((_, token) => {
    const found = pairing.source[token + 1] ?? -1;
    return found < 0 ? undefined : found - 1;
  });
}

describe('rows pair by byte offsets', () => {
  test('A.9.1: pairs that time warping misses', () => {
    expect(contentPairs(['hello', ' wor', 'ld', '!'], ['hel', 'lo', ' world', '!'])).toEqual([
      1,
      undefined,
      2,
      3,
    ]);
  });

  test('A.9.2 and A.9.3', () => {
    expect(contentPairs([' the', ' unbelie', 'vable'], [' the', ' un', 'believ', 'able'])).toEqual([
      0,
      undefined,
      3,
    ]);
    expect(contentPairs([' un', 'believable', '!'], [' unbelievable', '!'])).toEqual([undefined, 0, 1]);
  });

  test('the rows before the content pair, the row after its last byte predicts the end, later rows are not scored', () => {
    const pairing = pairRows(places([['ab', 'c']]), places([['a', 'b', 'c']]));
    expect([...pairing.source]).toEqual([0, 2, 3, -1]);
    expect(reasonsOf(pairing)).toEqual(['paired', 'paired', 'paired', 'not-scored']);
  });

  test('messages pair by themselves, whatever the templates between them are', () => {
    const pairing = pairRows(places([['ab'], ['c', 'd']]), places([['a', 'b'], ['cd']]));
    expect([...pairing.source]).toEqual([0, 2, -1, 4, -1, 5, -1]);
    expect(reasonsOf(pairing)[4]).toBe('inside-source-token');
  });

  test('a source cut short leaves the rest past its end', () => {
    const whole = places([['a', 'b', 'c']]);
    const cut = {
      segments: [0, 0, 0],
      byteEnds: [0, 1, 2],
      scored: [1, 1, 0],
    };
    const pairing = pairRows(whole, cut);
    expect([...pairing.source]).toEqual([0, 1, -1, -1, -1]);
    expect(reasonsOf(pairing)).toEqual(['paired', 'paired', 'past-end', 'past-end', 'not-scored']);
  });

  test('a message that the source never saw is past its end', () => {
    const pairing = pairRows(places([['a'], ['b']]), places([['a']]));
    expect(reasonsOf(pairing)).toEqual([
      'paired',
      'paired',
      'not-scored',
      'past-end',
      'past-end',
      'not-scored',
    ]);
  });

  test('of several tokens that end at one place the last one predicts what follows', () => {
    const dummySpace = places([['', 'ab']]);
    const plain = places([['ab']]);
    expect([...pairRows(plain, dummySpace).source]).toEqual([1, 2, -1]);
    expect([...pairRows(dummySpace, plain).source]).toEqual([-1, 0, 1, -1]);
    const emptyInside = { segments: [0, 0, 0, 0], byteEnds: [0, 1, 1, 2], scored: [1, 1, 1, 1] };
    const other = pairRows(emptyInside, { segments: [0, 0, 0], byteEnds: [0, 1, 2], scored: [1, 1, 1] });
    expect([...other.source]).toEqual([0, -1, 1, 2]);
    expect(reasonsOf(other)[1]).toBe('inside-source-token');
  });

  test('halves of a character are places like any other', () => {
    const byte = new TextEncoder().encode('é');
    expect(byte.length).toBe(2);
    const pairing = pairRows(
      { segments: [0, 0, 0], byteEnds: [0, 1, 2], scored: [1, 1, 1] },
      { segments: [0, 0], byteEnds: [0, 2], scored: [1, 1] },
    );
    expect(reasonsOf(pairing)).toEqual(['paired', 'inside-source-token', 'paired']);
  });

  test('same tokens pair one to one; pairs always end at the same byte and are found from both sides', () => {
    const cuts = fc.array(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(cuts, cuts, (a, b) => {
        const text = (sizes: number[][]) => sizes.map((message) => message.map((size) => 'x'.repeat(size)));
        const [pivot, source] = [places(text(a)), places(text(b))];
        const same = pairRows(pivot, pivot);
        same.source.forEach((row, token) => {
          expect(row).toBe(pivot.scored[token] === 1 ? token : -1);
        });
        const there = pairRows(pivot, source);
        const back = pairRows(source, pivot);
        there.source.forEach((row, token) => {
          if (row < 0) return;
          expect(pivot.byteEnds[token]).toBe(source.byteEnds[row]);
          expect(pivot.segments[token]).toBe(source.segments[row]);
          expect(back.source[row]).toBe(token);
        });
      }),
    );
  });
});

describe('places of tokens', () => {
  test('a token that reaches over the start of the content is not trained on; its end is a place', () => {
    const placement = placeTokens(
      [
        { id: 1, start: 0, end: 3 },
        { id: 2, start: 3, end: 6 },
        { id: 3, start: 6, end: 8 },
        { id: 9, start: 8, end: 8 },
      ],
      [{ start: 4, end: 8 }],
      [9],
    );
    expect([...placement.scored]).toEqual([0, 1, 1, 0]);
    expect([...placement.byteEnds]).toEqual([-1, 2, 4, -1]);
    expect([...placement.segmentBytes]).toEqual([4]);
  });

  test('a token that reaches over the end is not trained on, nor is the turn after it', () => {
    const placement = placeTokens(
      [
        { id: 1, start: 0, end: 2 },
        { id: 2, start: 2, end: 4 },
        { id: 3, start: 4, end: 7 },
        { id: 9, start: 7, end: 8 },
      ],
      [{ start: 2, end: 5 }],
      [9],
    );
    expect([...placement.scored]).toEqual([1, 0, 0, 0]);
  });

  test('an empty answer trains its end alone', () => {
    const placement = placeTokens(
      [
        { id: 1, start: 0, end: 2 },
        { id: 9, start: 2, end: 4 },
      ],
      [{ start: 2, end: 2 }],
      [9],
    );
    expect([...placement.scored]).toEqual([1, 0]);
    expect([...placement.byteEnds]).toEqual([0, -1]);
  });

  test('a cut answer has no end to train', () => {
    const tokens = [
      { id: 1, start: 0, end: 2 },
      { id: 2, start: 2, end: 4 },
    ];
    const placement = placeTokens(tokens, [{ start: 2, end: 9 }], [9]);
    expect([...placement.scored]).toEqual([1, 0]);
    expect([...placement.byteEnds]).toEqual([0, 2]);
  });

  test('the end of a turn whose answer was cut on purpose can be left untrained', () => {
    const tokens = [
      { id: 1, start: 0, end: 2 },
      { id: 2, start: 2, end: 4 },
      { id: 9, start: 4, end: 6 },
    ];
    expect([...placeTokens(tokens, [{ start: 2, end: 4 }], [9]).scored]).toEqual([1, 1, 0]);
    expect([...placeTokens(tokens, [{ start: 2, end: 4, openEnd: true }], [9]).scored]).toEqual([1, 0, 0]);
  });
});

describe('time warping, for comparison', () => {
  const markers = (tokens: readonly string[]) => tokens.map((token) => token.replaceAll(/[▁Ġ]/gu, ''));

  test('A.9.1: the diagonal, total 7', () => {
    const warping = warpTokens(markers(['▁hello', '▁wor', 'ld', '!']), markers(['hel', 'lo', 'Ġworld', '!']));
    expect(warping).toEqual({ lists: [[0], [1], [2], [3]], cost: 7 });
  });

  test('A.9.2: one pivot token, two source tokens', () => {
    const warping = warpTokens(
      markers(['▁the', '▁unbelie', 'vable']),
      markers(['Ġthe', 'Ġun', 'believ', 'able']),
    );
    expect(warping).toEqual({ lists: [[0, 1], [2], [3]], cost: 7 });
  });

  test('A.9.3: two pivot tokens, one source token', () => {
    const warping = warpTokens(markers(['▁un', 'believable', '!']), markers(['Ġunbelievable', '!']));
    expect(warping).toEqual({ lists: [[0], [0], [1]], cost: 12 });
  });

  test('A.9.4: the two published orders of ties', () => {
    const [source, pivot] = [
      ['a', 'b', 'a'],
      ['b', 'a', 'b'],
    ];
    expect(warpTokens(pivot!, source!, 'dtw-fusellm').lists).toEqual([[0], [0], [1, 2]]);
    expect(warpTokens(pivot!, source!, 'dtw-fusechat').lists).toEqual([[0, 1], [2], [2]]);
  });

  test('empty sequences', () => {
    expect(warpTokens([], ['a'])).toEqual({ lists: [], cost: 0 });
    expect(warpTokens(['a'], [])).toEqual({ lists: [[]], cost: 0 });
  });
});
