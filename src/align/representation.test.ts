import { describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { AlignmentTally, alignConversation } from './alignConversation.ts';
import {
  checkRepresentation,
  comparableNll,
  contentNll,
  nllPerByte,
  type Representation,
} from './representation.ts';
import { packRepresentations, unpackRepresentations } from './representationFile.ts';
import { toyRepresentation, toyVocabulary } from './testing.ts';
import { VocabularyMap } from './vocabularyMap.ts';

const vocabulary = toyVocabulary(['a', 'b', 'ab', 'ü']);

/** Any smooth distribution that depends on the position. */
function model(content: readonly number[]): Float64Array {
  const weights = Float64Array.from({ length: vocabulary.size }, (_, id) => 1 + ((id + content.length) % 5));
  weights[vocabulary.tokens.length] = 0;
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

const represent = (text: string, topK = 3) =>
  toyRepresentation(vocabulary, vocabulary.split(text), model, topK);

describe('likelihood of the content', () => {
  test('sums content tokens, counts UTF-8 bytes, leaves the end of the turn out', () => {
    const one = represent('abüa');
    const [ab, u, a] = ['ab', 'ü', 'a'].map((text) => vocabulary.id(text));
    const nats = -[model([])[ab!]!, model([ab!])[u!]!, model([ab!, u!])[a!]!].reduce(
      (sum, probability) => sum + Math.log(probability),
      0,
    );
    expect(contentNll(one).bytes).toBe(5);
    expect(contentNll(one).nats).toBeCloseTo(nats, 5);
    expect(nllPerByte(one)).toBeCloseTo(nats / 5, 6);
  });

  test('an empty answer has no likelihood a byte', () => {
    expect(nllPerByte(toyRepresentation(vocabulary, [], model, 2))).toBeNaN();
  });

  test('of two models one of which was cut short, the bytes that both read are compared', () => {
    const whole = represent('aba');
    const letters = [0, 1, 0, 0].map((id) => id);
    const long = toyRepresentation(vocabulary, letters, model, 3);
    const cut = cutShort(long, 3);
    const { a, b } = comparableNll(whole, cut);
    expect(a.bytes).toBe(2);
    expect(b.bytes).toBe(2);
    expect(b.nats).toBeCloseTo(-Math.log(model([])[0]!) - Math.log(model([0])[1]!), 5);
    expect(comparableNll(whole, whole).a).toEqual(contentNll(whole));
  });
});

/** Keeps the first tokens, as a limit on length does. */
function cutShort(one: Representation, count: number): Representation {
  const scored = one.scored.slice(0, count);
  scored[count - 1] = 0;
  return {
    ...one,
    tokens: one.tokens.slice(0, count),
    segments: one.segments.slice(0, count),
    byteEnds: one.byteEnds.slice(0, count),
    scored,
    topIds: one.topIds.slice(0, count * one.topK),
    topLogProbs: one.topLogProbs.slice(0, count * one.topK),
    labelLogProb: one.labelLogProb.slice(0, count),
    boundaryMass: one.boundaryMass.slice(0, count),
  };
}

describe('files of representations', () => {
  const set = { model: 'toy', conversations: [represent('abüa'), represent('a', 5), represent('')] };

  test('come back as they were, and equal sets give equal bytes', () => {
    const file = packRepresentations(set);
    expect(unpackRepresentations(file, 'toy.bin')).toEqual(set);
    expect(packRepresentations(unpackRepresentations(file, 'toy.bin'))).toEqual(file);
  });

  test('hold nothing of rows that are not scored', () => {
    const dirty = structuredClone(set.conversations[0]!);
    dirty.labelLogProb[dirty.labelLogProb.length - 1] = -3;
    dirty.topIds[dirty.topIds.length - 1] = 3;
    expect(
      packRepresentations({ model: 'toy', conversations: [dirty, ...set.conversations.slice(1)] }),
    ).toEqual(packRepresentations(set));
  });

  test('that are cut anywhere, of another kind or version, or lie are refused by name', () => {
    const file = packRepresentations(set);
    for (const bytes of [0, 7, 15, 20, 100, 400, file.length - 9]) {
      expect(() => unpackRepresentations(file.slice(0, bytes), 'toy.bin')).toThrow(AlloyError);
      expect(() => unpackRepresentations(file.slice(0, bytes), 'toy.bin')).toThrow(
        /^toy\.bin .*run again\.$/,
      );
    }
    const kind = file.slice();
    kind[0] = 0x7a;
    expect(() => unpackRepresentations(kind, 'toy.bin')).toThrow(/does not begin/);
    const version = file.slice();
    version[8] = 9;
    expect(() => unpackRepresentations(version, 'toy.bin')).toThrow(/version 9/);
  });

  test('with impossible numbers are refused by field', () => {
    const broken = (change: (one: Representation) => void, field: string) => {
      const one = structuredClone(set.conversations[0]!);
      change(one);
      expect(() => checkRepresentation(one)).toThrow(`toy is damaged: ${field}`);
    };
    broken((one) => one.topLogProbs.fill(0), 'topLogProbs');
    broken((one) => one.labelLogProb.fill(Number.NaN), 'labelLogProb');
    broken((one) => one.byteEnds.fill(99), 'byteEnds');
    broken((one) => one.scored.fill(1), 'scored');
    broken((one) => Object.assign(one, { topIds: new Uint32Array(1) }), 'topIds');
    broken((one) => Object.assign(one, { segments: new Int32Array(1) }), 'segments');
  });
});

describe('alignment of a conversation', () => {
  test('with itself is complete', () => {
    const one = represent('abüa');
    const map = new VocabularyMap(vocabulary, vocabulary);
    const alignment = alignConversation(one, one, map, 0.5);
    const tally = new AlignmentTally();
    tally.add(one, one, alignment, map);
    const counts = tally.counts();
    expect(counts.coverage).toBe(1);
    expect(counts.reasons).toMatchObject({ paired: 4, 'not-scored': 1 });
    expect(counts.tokensPerByte).toEqual({ pivot: 0.6, source: 0.6 });
    const shares = counts.mapping;
    expect(Object.keys(shares)).toEqual(['same-vocabulary', 'outside']);
    expect(shares['same-vocabulary']! + shares.outside!).toBeCloseTo(1, 6);
  });

  test('masks rows that lose too much of their kept mass, and says how mass was mapped', () => {
    const source = toyVocabulary(['a', 'b', 'x']);
    const peaked = (): Float64Array => Float64Array.of(0.2, 0.1, 0.6, 0, 0.05);
    const other = toyRepresentation(source, source.split('ab'), peaked, 4);
    const pivot = toyRepresentation(vocabulary, [0, 1], model, 3);
    const map = new VocabularyMap(vocabulary, source);
    const strict = alignConversation(pivot, other, map, 0.5);
    expect([...strict.source]).toEqual([-1, -1, -1, -1]);
    expect(strict.mass[0]).toBeCloseTo(0.35 / 0.95, 6);
    const loose = alignConversation(pivot, other, map, 0.3);
    expect([...loose.source]).toEqual([0, 1, 2, -1]);
    const tally = new AlignmentTally();
    tally.add(pivot, other, strict, map);
    const { mapping, reasons, coverage } = tally.counts();
    expect(reasons['low-mass']).toBe(3);
    expect(coverage).toBe(0);
    expect(mapping.exact).toBeCloseTo(0.3, 6);
    expect(mapping.role).toBeCloseTo(0.05, 6);
    expect(mapping.unmapped).toBeCloseTo(0.6, 6);
    expect(mapping.outside).toBeCloseTo(0.05, 6);
  });
});
