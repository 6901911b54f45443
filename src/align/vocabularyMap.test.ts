import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteIndex } from './byteIndex.ts';
import { editDistance, nearestEntry, withinOneEdit } from './editDistance.ts';
import { StartCounts } from './startCounts.ts';
import { toyVocabulary } from './testing.ts';
import { byteString, sameVocabulary, TokenBytes, type Vocabulary } from './vocabulary.ts';
import { BOUND_RULES, VocabularyMap } from './vocabularyMap.ts';

/** Ids in order; `undefined` is a special token. */
function vocabulary(tokens: readonly (string | undefined)[], endOfTurn: number[] = []): Vocabulary {
  return {
    size: tokens.length,
    bytesOf: (id) => (tokens[id] === undefined ? undefined : new TextEncoder().encode(tokens[id])),
    endOfTurn,
  };
}

const byte = (value: number) => String.fromCharCode(value);

describe('edit distance', () => {
  test('A.9.5: the total map of FuseLLM', () => {
    const pivot = ['<unk>', '<s>', '</s>', '▁get', '▁gets', '▁got', '▁utter', '▁utterly', 't', '▁'];
    const distances = (query: string) => pivot.map((entry) => editDistance(query, entry));
    expect(distances('▁gett')).toEqual([5, 5, 5, 1, 1, 2, 4, 6, 4, 4]);
    expect(distances('▁utterance')).toEqual([8, 10, 10, 8, 8, 8, 4, 4, 9, 9]);
    expect(distances('q')).toEqual([5, 3, 4, 4, 5, 4, 6, 8, 1, 1]);
    expect(['▁gett', '▁utterance', '▁gets', 'q'].map((query) => pivot[nearestEntry(query, pivot)])).toEqual([
      '▁get',
      '▁utter',
      '▁gets',
      't',
    ]);
  });

  test('one edit or none, against the full distance', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(withinOneEdit(a, b)).toBe(editDistance(a, b) <= 1);
      }),
    );
  });
});

describe('byte index', () => {
  test('finds what a scan finds', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.uniqueArray(word, { minLength: 1, maxLength: 20 }), word, (tokens, query) => {
        const index = new ByteIndex(vocabulary(tokens));
        expect(index.exact(query)).toBe(tokens.indexOf(query));
        const prefixes = tokens.filter((token) => query.startsWith(token));
        const longest = prefixes.reduce((best, token) => (token.length > best.length ? token : best), '');
        expect(index.longestPrefix(query)).toBe(tokens.indexOf(longest));
        expect(index.withinOneEdit(query)).toBe(tokens.findIndex((token) => editDistance(token, query) <= 1));
      }),
    );
  });

  test('an ordinary token goes before a byte-fallback token of the same bytes', () => {
    const index = new ByteIndex({ ...vocabulary(['A', 'B', 'A']), isByteFallback: (id) => id === 0 });
    expect(index.exact('A')).toBe(2);
  });
});

describe('vocabulary map', () => {
  const pivot = toyVocabulary([
    ' the',
    ' un',
    'believ',
    'able',
    ' ',
    'b',
    'e',
    'l',
    'i',
    'v',
    'a',
    ' colour',
    ' wor',
    'ld',
  ]);

  test('the order of J6, and the rule that was used', () => {
    const source = toyVocabulary([' the', ' unbelievable', 'hel', ' world', ' color', 'zzz', ' world wide']);
    const counts = new StartCounts();
    counts.add(pivot.id('able'), source.id('hel'), 2);
    counts.add(pivot.id('a'), source.id('hel'), 2);
    counts.add(pivot.id('ld'), source.id('zzz'), 1);
    const map = new VocabularyMap(pivot, source, { counts });
    const found = source.tokens.map((_, id) => [pivot.tokens[map.target(id)], map.rule(id)]);
    expect(found).toEqual([
      [' the', 'exact'],
      [' un', 'first-piece'],
      ['able', 'count'],
      [' wor', 'first-piece'],
      [' colour', 'one-edit'],
      [undefined, 'unmapped'],
      [undefined, 'unmapped'],
    ]);
  });

  test('counts: largest first, lowest id on ties, at least two', () => {
    const counts = new StartCounts();
    counts.add(7, 1);
    counts.add(5, 1, 3);
    counts.add(4, 1, 3);
    expect(counts.best(1)).toEqual({ id: 4, count: 3 });
    expect(counts.best(2)).toBeUndefined();
    expect(counts.get(7, 1)).toBe(1);
  });

  test('A.8: start-aligned counts of `hello world!`', () => {
    const [p, s] = [toyVocabulary(['hello', ' wor', 'ld', '!']), toyVocabulary(['hel', 'lo', ' world', '!'])];
    const counts = new StartCounts();
    counts.addPairs(
      { source: Int32Array.of(0, 2, -1, 3, 4), reasons: new Uint8Array(5) },
      { tokens: [4, 0, 1, 2, 3, 5], bytes: new TokenBytes(p) },
      { tokens: [4, 0, 1, 2, 3, 5], bytes: new TokenBytes(s) },
    );
    const all = p.tokens.flatMap((to, i) =>
      s.tokens.flatMap((from, j) => (counts.get(i, j) > 0 ? [[to, from, counts.get(i, j)]] : [])),
    );
    expect(all).toEqual([
      ['hello', 'hel', 1],
      [' wor', ' world', 1],
      ['!', '!', 1],
    ]);
  });

  test('the end of a turn goes to the end of a turn, other special tokens nowhere, ids beyond the vocabulary nowhere', () => {
    const source = vocabulary(['x', undefined, undefined, undefined], [2, 3]);
    const map = new VocabularyMap(vocabulary(['x', undefined, undefined], [2, 1]), source);
    expect([0, 1, 2, 3, 4, 99999].map((id) => map.target(id))).toEqual([0, -1, 2, 2, -1, -1]);
    expect([1, 2, 3].map((id) => map.rule(id))).toEqual(['unmapped', 'role', 'role']);
  });

  test('the same vocabulary maps every id to itself, special tokens and tokens of equal bytes too', () => {
    const twins = vocabulary(['a', 'a', undefined, 'b'], [2]);
    const map = new VocabularyMap(twins, vocabulary(['a', 'a', undefined, 'b'], [2]));
    expect([0, 1, 2, 3].map((id) => map.target(id))).toEqual([0, 1, 2, 3]);
    expect(map.rule(1)).toBe('same-vocabulary');
    expect(sameVocabulary(twins, vocabulary(['a', 'a', undefined, 'c'], [2]))).toBe(false);
    expect(sameVocabulary(twins, vocabulary(['a', 'a', 'x', 'b'], [2]))).toBe(false);
    expect(sameVocabulary(twins, vocabulary(['a', 'a', undefined, 'b'], []))).toBe(false);
  });

  test('of several pivot tokens with the same bytes the one that the pivot writes is used', () => {
    const written = { ...vocabulary(['ab', 'ab']), encode: () => [1] };
    expect(new VocabularyMap(written, vocabulary(['ab'])).target(0)).toBe(1);
  });

  test('bound rules only lead to tokens whose bytes begin the source token', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 });
    const words = fc.uniqueArray(word, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(words, words, (to, from) => {
        const [p, s] = [toyVocabulary(to), toyVocabulary(from)];
        const map = new VocabularyMap(p, s, { rules: BOUND_RULES });
        from.forEach((text, id) => {
          const target = map.target(id);
          expect(target >= 0).toBe(to.some((token) => text.startsWith(token)));
          if (target >= 0) expect(text.startsWith(to[target]!)).toBe(true);
          if (to.includes(text)) expect(to[target]).toBe(text);
        });
      }),
    );
  });

  test('bytes that are no text of their own fall back to their longest prefix', () => {
    const half = (...values: number[]): Vocabulary => ({
      size: values.length,
      bytesOf: (id) => Uint8Array.of(...[0xe2, 0x80, 0x99].slice(0, values[id])),
      endOfTurn: [],
      encode: () => undefined,
    });
    const map = new VocabularyMap(half(1, 2), half(3), { rules: BOUND_RULES });
    expect([map.target(0), map.rule(0)]).toEqual([1, 'longest-prefix']);
  });

  test('byte strings hold every byte', () => {
    const all = Uint8Array.from({ length: 5000 }, (_, index) => index & 255);
    expect(byteString(all)).toBe(Array.from(all, byte).join(''));
  });
});
