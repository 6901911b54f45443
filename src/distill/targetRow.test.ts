import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SparseRow } from '../align/project.ts';
import type { Representation } from '../align/representation.ts';
import { type ToyModel, type ToyVocabulary, toyRepresentation, toyVocabulary } from '../align/testing.ts';
import { BOUND_RULES, VocabularyMap } from '../align/vocabularyMap.ts';
import { headLossReference } from '../kernels/reference/headLoss.ts';
import { fuseConversation } from './fusedTargets.ts';
import { ownTailRow, tailRow, writeRow } from './targetRow.ts';

/** A model that has the given probabilities everywhere, by token text. */
function fixed(vocabulary: ToyVocabulary, rows: readonly Record<string, number>[]): ToyModel {
  return (content) => {
    const result = new Float64Array(vocabulary.size);
    for (const [text, probability] of Object.entries(rows[content.length] ?? {})) {
      result[vocabulary.id(text)] = probability;
    }
    return result;
  };
}

/** What the source knows at the start of the text, in the pivot's words. */
function boundaryRow(
  pivotWords: readonly string[],
  pivotText: readonly string[],
  sourceWords: readonly string[],
  sourceText: readonly string[],
  rows: readonly Record<string, number>[],
  topK = 10,
) {
  const [p, s] = [toyVocabulary(pivotWords), toyVocabulary(sourceWords)];
  const ids = (vocabulary: ToyVocabulary, texts: readonly string[]) =>
    texts.map((text) => vocabulary.id(text));
  const even: ToyModel = () => new Float64Array(p.size).fill(1 / p.size);
  const pivot = toyRepresentation(p, ids(p, pivotText), even, 1);
  const source = toyRepresentation(s, ids(s, sourceText), fixed(s, rows), topK);
  const map = new VocabularyMap(p, s, { rules: BOUND_RULES });
  const row = new SparseRow();
  const path = tailRow(pivot, 0, source, 0, map, row);
  const cells = Object.fromEntries(
    row.ids.map((id, at) => [p.tokens[id] ?? 'end', Number(row.probabilities[at]!.toFixed(6))]),
  );
  return { path, cells, rest: 1 - row.mass() };
}

describe('distillation.md 7: routing and chain rule', () => {
  const student = ['foo', 'fo', 'bar', 'd', 'foobarx'];
  const teacher = ['foobar', 'foo', 'food', 'fog', 'bar', 'x', 'xy', 'other'];
  const first = { foobar: 0.5, foo: 0.2, food: 0.1, fog: 0.08, bar: 0.05 };

  test('at a boundary every token goes to the longest one that begins it', () => {
    const { path, cells, rest } = boundaryRow(student, ['foo'], teacher, ['foo'], [first]);
    expect(path).toBe('same');
    expect(cells).toEqual({ foo: 0.8, fo: 0.08, bar: 0.05 });
    expect(rest).toBeCloseTo(0.07, 6);
  });

  test('a label that spans teacher tokens gets the chain value, out of the cell of its head', () => {
    const { path, cells } = boundaryRow(
      student,
      ['foobarx'],
      teacher,
      ['foobar', 'x'],
      [first, { x: 0.3, xy: 0.1 }],
    );
    expect(path).toBe('span');
    expect(cells).toEqual({ foobarx: 0.2, foo: 0.6, fo: 0.08, bar: 0.05 });
  });

  test('a label that is the head of the teacher token has all the mass that begins with it and no better place', () => {
    const { path, cells } = boundaryRow(student, ['foo', 'bar'], teacher, ['foobar'], [first]);
    expect(path).toBe('head');
    expect(cells.foo).toBe(0.8);
  });

  test('the label is exact where the teacher token is not among the kept ones', () => {
    const { path, cells, rest } = boundaryRow(student, ['bar'], teacher, ['bar'], [first], 2);
    expect(path).toBe('same');
    expect(cells).toEqual({ bar: 0.05, foo: 0.7 });
    expect(rest).toBeCloseTo(0.25, 6);
  });

  test('a chain over three teacher tokens', () => {
    const { path, cells } = boundaryRow(
      ['abcd', 'a', 'b', 'c', 'd'],
      ['abcd'],
      ['a', 'b', 'bc', 'cd', 'cde', 'd'],
      ['a', 'b', 'cd'],
      [
        { a: 0.5, b: 0.2 },
        { b: 0.4, bc: 0.5 },
        { cd: 0.5, cde: 0.25, d: 0.1 },
      ],
    );
    expect(path).toBe('span');
    expect(cells).toEqual({ abcd: 0.15, a: 0.35, b: 0.2 });
  });

  test('a chain that the source cuts short can not be told', () => {
    const { path } = boundaryRow(
      ['abc', 'a'],
      ['abc'],
      ['a', 'b', 'x'],
      ['a', 'b'],
      [{ a: 0.5 }, { b: 0.5 }],
    );
    expect(path).toBe('other');
  });

  test('where one side ends its turn and the other does not, the label can not be told', () => {
    const { path } = boundaryRow(['a'], ['a'], ['a'], [], [{ a: 0.5 }]);
    expect(path).toBe('other');
  });
});

test('distillation.md 7: tail bucket, as the loss kernels define it', () => {
  const logits = [0.5, 0.3, 0.05, 0.04, 0.11].map(Math.log);
  const loss = (ids: number[], probs: number[]) =>
    headLossReference({
      rows: 1,
      vocabulary: 5,
      logits,
      labels: [-100],
      weights: [0, 1],
      teacher: { mode: 'tail', kept: ids.length, ids, probs, counts: [ids.length] },
    });
  const three = loss([0, 1, 2], [0.62, 0.2, 0.08]);
  expect(three.losses[1]).toBeCloseTo(1.0999, 4);
  expect(Array.from(three.gradient.slice(0, 4), (value) => Number(value.toFixed(4)))).toEqual([
    -0.12, 0.1, -0.03, 0.0133,
  ]);
  const four = loss([0, 1, 2, 3], [0.62, 0.2, 0.08, 0.06]);
  expect(four.losses[1]).toBeCloseTo(1.1916, 4);
  expect(four.gradient[3]).toBeCloseTo(-0.02, 9);
});

/** A toy language model with a memory of one token; rows over all content tokens and the end of the turn. */
function markov(vocabulary: ToyVocabulary, weights: readonly number[]): ToyModel {
  const content = vocabulary.tokens.length;
  return (read) => {
    const last = read.at(-1) ?? content;
    const row = new Float64Array(vocabulary.size);
    for (let id = 0; id < content; id++) row[id] = weights[(last * 7 + id * 3 + 1) % weights.length]!;
    row[content + 1] = 0.3;
    const sum = row.reduce((total, value) => total + value, 0);
    return row.map((value) => value / sum);
  };
}

/** P(the text goes on with one of `wanted`), by enumeration of all ways to spell it. */
function prefixProbability(
  vocabulary: ToyVocabulary,
  model: ToyModel,
  read: readonly number[],
  wanted: readonly string[],
): number {
  if (wanted.includes('')) return 1;
  if (wanted.length === 0) return 0;
  const row = model(read);
  return vocabulary.tokens.reduce((sum, token, id) => {
    if (wanted.some((text) => token.startsWith(text))) return sum + row[id]!;
    const rest = wanted.filter((text) => text.startsWith(token)).map((text) => text.slice(token.length));
    return sum + (rest.length > 0 ? row[id]! * prefixProbability(vocabulary, model, [...read, id], rest) : 0);
  }, 0);
}

/** P(the longest pivot token that begins the rest of the text is `token`), by enumeration of texts of bounded length. */
function longestMatchProbability(
  pivot: ToyVocabulary,
  vocabulary: ToyVocabulary,
  model: ToyModel,
  read: readonly number[],
  token: string,
): number {
  const longer = pivot.tokens.filter((other) => other.startsWith(token) && other !== token);
  const inside = prefixProbability(vocabulary, model, read, [token]);
  return inside - (longer.length > 0 ? prefixProbability(vocabulary, model, read, longer) : 0);
}

interface World {
  readonly p: ToyVocabulary;
  readonly s: ToyVocabulary;
  readonly model: ToyModel;
  readonly content: readonly number[];
  readonly source: Representation;
  readonly pivot: Representation;
  readonly topK: number;
}

const LETTERS = ['a', 'b', 'c'];
const word = fc.string({ unit: fc.constantFrom(...LETTERS), minLength: 2, maxLength: 4 });
const words = fc.uniqueArray(word, { maxLength: 6 }).map((longer) => [...LETTERS, ...longer]);

const worlds: fc.Arbitrary<World> = fc
  .record({
    pivotWords: words,
    sourceWords: words,
    weights: fc.array(fc.double({ min: 0.05, max: 1, noNaN: true }), { minLength: 11, maxLength: 11 }),
    draws: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
    topK: fc.integer({ min: 1, max: 10 }),
  })
  .map(({ pivotWords, sourceWords, weights, draws, topK }) => {
    const [p, s] = [toyVocabulary(pivotWords), toyVocabulary(sourceWords)];
    const model = markov(s, weights);
    const content = draws.map((draw) => draw % s.tokens.length);
    const text = content.map((id) => s.tokens[id]).join('');
    const source = toyRepresentation(s, content, model, Math.min(topK, s.tokens.length));
    const pivot = toyRepresentation(p, p.split(text), markov(p, weights), 3);
    return { p, s, model, content, source, pivot, topK };
  });

describe('every value of a target row holds up against enumeration', () => {
  test('entries, and sums of entries, are lower bounds of what they stand for; they never exceed 1', () => {
    let spans = 0;
    let heads = 0;
    fc.assert(
      fc.property(worlds, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (world, choice) => {
        const { p, s, model, content, source, pivot } = world;
        const map = new VocabularyMap(p, s, { rules: BOUND_RULES });
        const targets = fuseConversation(pivot, source, map, {
          loss: 'tail',
          choice: 'source',
          minimumMass: 0,
        });
        targets.rows.forEach((row, index) => {
          const end = pivot.byteEnds[row]!;
          const read = content.slice(0, source.byteEnds.indexOf(end));
          const label = pivot.tokens[row + 1]!;
          const at = index * targets.width;
          const entries = [...targets.ids.slice(at, at + targets.counts[index]!)].map((id, entry) => ({
            id,
            text: p.tokens[id],
            probability: targets.probabilities[at + entry]!,
          }));
          expect(entries.map(({ id }) => id)).toContain(label);
          expect(new Set(entries.map(({ id }) => id)).size).toBe(entries.length);
          expect(entries.reduce((sum, { probability }) => sum + probability, 0)).toBeLessThanOrEqual(
            1 + 1e-6,
          );
          const kind = targets.kinds[index];
          if (kind === 2) heads++;
          if (kind === 3) spans++;
          const stop = model(read)[s.endOfTurn[0]!]!;
          for (const { id, text, probability } of entries) {
            const bound = text === undefined ? stop : prefixProbability(s, model, read, [text]);
            expect(probability).toBeGreaterThanOrEqual(0);
            expect(probability).toBeLessThanOrEqual(bound + 1e-6);
            if (text === undefined)
              expect([id, probability]).toEqual([p.endOfTurn[0], expect.closeTo(stop, 6)]);
          }
          const some = entries.filter(({ text }, entry) => text !== undefined && choice[entry]);
          const together = some.reduce((sum, { probability }) => sum + probability, 0);
          const texts = some.map(({ text }) => text!);
          expect(together).toBeLessThanOrEqual(prefixProbability(s, model, read, texts) + 1e-6);
        });
      }),
      { numRuns: 400 },
    );
    expect(heads).toBeGreaterThan(20);
    expect(spans).toBeGreaterThan(20);
  });

  test('with whole rows and no pivot token longer than the source tokens, entries are exact', () => {
    let rows = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const { p, s, model, content, pivot } = world;
        const extends_ = (longer: string, token: string) => longer !== token && longer.startsWith(token);
        if (s.tokens.some((token) => p.tokens.some((other) => extends_(other, token)))) return;
        const source = toyRepresentation(s, content, model, s.size);
        const map = new VocabularyMap(p, s, { rules: BOUND_RULES });
        const targets = fuseConversation(pivot, source, map, {
          loss: 'tail',
          choice: 'source',
          minimumMass: 0,
        });
        targets.rows.forEach((row, index) => {
          rows++;
          const read = content.slice(0, source.byteEnds.indexOf(pivot.byteEnds[row]!));
          const at = index * targets.width;
          for (let entry = 0; entry < targets.counts[index]!; entry++) {
            const text = p.tokens[targets.ids[at + entry]!];
            if (text === undefined) continue;
            const exact = longestMatchProbability(p, s, model, read, text);
            expect(targets.probabilities[at + entry]).toBeCloseTo(exact, 6);
          }
        });
      }),
      { numRuns: 2000 },
    );
    expect(rows).toBeGreaterThan(100);
  });

  test('with the same tokenizer rows are copied: every row paired, every kept entry as it is, the label exact', () => {
    fc.assert(
      fc.property(worlds, ({ s, source }) => {
        const map = new VocabularyMap(s, s, { rules: BOUND_RULES });
        const targets = fuseConversation(source, source, map, {
          loss: 'tail',
          choice: 'source',
          minimumMass: 0.5,
        });
        const scored = [...source.scored.keys()].filter((row) => source.scored[row] === 1);
        expect([...targets.rows]).toEqual(scored);
        const own = new SparseRow();
        targets.rows.forEach((row, index) => {
          ownTailRow(source, row, own);
          const at = index * targets.width;
          const ids = targets.ids.subarray(at, at + targets.counts[index]!);
          expect([...ids].sort()).toEqual([...own.ids].sort());
          ids.forEach((id, entry) => {
            expect(targets.probabilities[at + entry]).toBeCloseTo(own.get(id), 6);
          });
        });
      }),
    );
  });
});

describe('writing a row', () => {
  const write = (cells: [number, number][], keep: number, width: number) => {
    const row = new SparseRow();
    for (const [id, probability] of cells) row.add(id, probability);
    const [ids, probabilities] = [new Uint32Array(width), new Float32Array(width)];
    const count = writeRow(row, keep, width, ids, probabilities, 0);
    return [...ids.slice(0, count)].map((id, at) => [id, Number(probabilities[at]!.toFixed(6))]);
  };

  test('most likely first, ties by id, the label stays though it is last, empty cells go', () => {
    expect(
      write(
        [
          [1, 0.1],
          [2, 0.3],
          [9, 0.01],
          [3, 0.3],
          [4, 0],
        ],
        9,
        3,
      ),
    ).toEqual([
      [2, 0.3],
      [3, 0.3],
      [9, 0.01],
    ]);
    expect(
      write(
        [
          [1, 0.1],
          [9, 0],
        ],
        9,
        3,
      ),
    ).toEqual([
      [1, 0.1],
      [9, 0],
    ]);
  });

  test('rounding above 1 is taken off the largest entry', () => {
    expect(
      write(
        [
          [1, 0.7],
          [2, 0.3002],
        ],
        2,
        3,
      ),
    ).toEqual([
      [1, 0.6998],
      [2, 0.3002],
    ]);
  });
});
