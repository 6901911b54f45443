import { describe, expect, test } from 'vitest';
import { MATCH_REASONS } from '../align/pairing.ts';
import { nllPerByte } from '../align/representation.ts';
import { type ToyModel, type ToyVocabulary, toyRepresentation, toyVocabulary } from '../align/testing.ts';
import { BOUND_RULES, PROJECTION_RULES, VocabularyMap } from '../align/vocabularyMap.ts';
import { headLossReference } from '../kernels/reference/headLoss.ts';
import { type FuseOptions, fuseConversation, TARGET_KINDS, writeTargets } from './fusedTargets.ts';
import { minCe } from './minCe.ts';
import { rowWeights, stepLoss } from './objective.ts';
import { RouteTally } from './routeTable.ts';
import { packTargets, unpackTargets } from './targetsFile.ts';

const p = toyVocabulary(['a', 'b', 'ab', 'c', 'abc']);
const s = toyVocabulary(['a', 'b', 'c', 'bc', 'ab']);

/** A model that gives the true next token of `text` this probability and spreads the rest evenly. */
function confident(vocabulary: ToyVocabulary, ids: readonly number[], probability: number): ToyModel {
  return (read) => {
    const row = new Float64Array(vocabulary.size).fill((1 - probability) / (vocabulary.size - 2));
    row[vocabulary.tokens.length] = 0;
    row[ids[read.length] ?? vocabulary.tokens.length + 1] = probability;
    return row;
  };
}

function represent(vocabulary: ToyVocabulary, texts: readonly string[], probability: number, topK = 3) {
  const ids = texts.map((text) => vocabulary.id(text));
  return toyRepresentation(vocabulary, ids, confident(vocabulary, ids, probability), topK);
}

const tail: FuseOptions = { loss: 'tail', choice: 'mince', minimumMass: 0.5 };
const boundMap = () => new VocabularyMap(p, s, { rules: BOUND_RULES });

describe('which model teaches', () => {
  test('B.5: the smallest cross-entropy; per byte where tokenizers differ', () => {
    expect(minCe([1.2, 0.9, 1.5])).toBe(1);
    expect(minCe([14.4 / 12, 13 / 10])).toBe(0);
    expect(minCe([14.4 / 60, 13 / 60])).toBe(1);
  });

  test('J7, J9: ties go to the pivot, NaN and infinity never win, nothing usable drops the conversation', () => {
    expect(minCe([0.5, 0.5])).toBe(0);
    expect(minCe([Number.NaN, 0.5])).toBe(1);
    expect(minCe([Number.POSITIVE_INFINITY, Number.NaN])).toBe(-1);
    expect(minCe([])).toBe(-1);
  });

  test('a better source teaches, a better pivot teaches itself', () => {
    const [weak, strong] = [represent(p, ['ab', 'c'], 0.4), represent(s, ['a', 'bc'], 0.9)];
    const targets = fuseConversation(weak, strong, boundMap(), tail);
    expect(targets.chosen).toBe('source');
    expect(targets.nllPerByte.pivot).toBeCloseTo(nllPerByte(weak), 6);
    expect(targets.nllPerByte.source).toBeCloseTo(nllPerByte(strong), 6);
    expect([...targets.rows]).toEqual([0, 2]);
    expect([...targets.kinds].map((kind) => TARGET_KINDS[kind])).toEqual(['span', 'end']);
    expect([...targets.reasons].map((code) => MATCH_REASONS[code])).toEqual([
      'paired',
      'inside-source-token',
      'paired',
      'not-scored',
    ]);
    const own = fuseConversation(represent(p, ['ab', 'c'], 0.95), strong, boundMap(), tail);
    expect(own.chosen).toBe('pivot');
    expect([...own.rows]).toEqual([0, 1, 2]);
    expect([...own.kinds].map((kind) => TARGET_KINDS[kind])).toEqual(['own', 'own', 'own']);
    expect(own.probabilities[0]).toBeCloseTo(0.95, 6);
    expect([...own.reasons]).toEqual([...targets.reasons]);
  });

  test('choice `source` takes the source though it is worse; an empty answer is dropped', () => {
    const [strong, weak] = [represent(p, ['ab', 'c'], 0.95), represent(s, ['a', 'bc'], 0.3)];
    expect(fuseConversation(strong, weak, boundMap(), { ...tail, choice: 'source' }).chosen).toBe('source');
    const empty = fuseConversation(represent(p, [], 0.5), represent(s, [], 0.5), boundMap(), tail);
    expect(empty.chosen).toBe('dropped');
    expect(empty.rows.length).toBe(0);
  });

  test('a label that can not be told masks its row, with a reason', () => {
    const short = represent(s, ['a', 'b', 'c'], 0.9);
    short.scored[2] = 0;
    const targets = fuseConversation(represent(p, ['abc'], 0.1), short, boundMap(), {
      ...tail,
      choice: 'source',
    });
    expect([...targets.rows]).toEqual([1]);
    expect(MATCH_REASONS[targets.reasons[0]!]).toBe('low-mass');
  });
});

describe('the published row', () => {
  test('sums to 1 over what survived, for the source and for the pivot, and adds no label', () => {
    const [weak, strong] = [represent(p, ['ab', 'c'], 0.05), represent(s, ['a', 'bc'], 0.9)];
    const map = new VocabularyMap(p, s, { rules: PROJECTION_RULES });
    for (const choice of ['source', 'mince'] as const) {
      for (const [pivot, source] of [
        [weak, strong],
        [represent(p, ['ab', 'c'], 0.95), strong],
      ] as const) {
        const targets = fuseConversation(pivot, source, map, {
          loss: 'renormalised',
          choice,
          minimumMass: 0.5,
        });
        expect(targets.rows.length).toBeGreaterThan(0);
        targets.rows.forEach((_, index) => {
          const row = targets.probabilities.subarray(index * targets.width, (index + 1) * targets.width);
          expect(row.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
          expect(TARGET_KINDS[targets.kinds[index]!]).toBe(targets.chosen === 'pivot' ? 'own' : 'published');
        });
      }
    }
  });
});

describe('rows for the trainer', () => {
  const targets = fuseConversation(
    represent(p, ['ab', 'c'], 0.4),
    represent(s, ['a', 'bc'], 0.9),
    boundMap(),
    tail,
  );

  test('stand where their tokens stand in the batch; rows beyond its width are left out', () => {
    const into = {
      ids: new Uint32Array(8 * targets.width),
      probabilities: new Float32Array(8 * targets.width),
      counts: new Uint32Array(8),
    };
    writeTargets(targets, 4, 2, into);
    expect([...into.counts]).toEqual([0, 0, 0, 0, targets.counts[0], 0, 0, 0]);
    const at = 4 * targets.width;
    expect([...into.ids.slice(at, at + targets.width)]).toEqual([...targets.ids.slice(0, targets.width)]);
  });

  test('come back from their file; damaged files are refused', () => {
    const dropped = fuseConversation(represent(p, [], 0.5), represent(s, [], 0.5), boundMap(), tail);
    const file = packTargets([targets, dropped]);
    expect(unpackTargets(file, 'targets.bin')).toEqual([targets, dropped]);
    expect(packTargets(unpackTargets(file, 'targets.bin'))).toEqual(file);
    expect(() => unpackTargets(file.slice(0, file.length - 9), 'targets.bin')).toThrow(/targets\.bin/);
  });

  test('the route table says how good the targets are on the true next token', () => {
    const pivot = represent(p, ['ab', 'c'], 0.4);
    const tally = new RouteTally();
    tally.add(targets, pivot);
    const [span, end] = tally.table();
    expect([span?.kind, end?.kind]).toEqual(['span', 'end']);
    expect(span?.pivotNats).toBeCloseTo(-Math.log(0.4), 5);
    expect(end?.targetNats).toBeCloseTo(-Math.log(0.9), 5);
    expect(end?.withoutLabel).toBe(0);
  });
});

describe('objective', () => {
  test('C.3: loss and gradient of the blend over all rows of a step', () => {
    const logits = [2, 1, 0, 0.5, 1.5, -0.5, 1, 1, 1];
    const given = {
      rows: 3,
      vocabulary: 3,
      logits,
      labels: [1, 2, -100],
      teacher: {
        mode: 'sparse' as const,
        kept: 3,
        ids: [0, 1, 2, 0, 1, 2, 0, 1, 2],
        probs: [0.2, 0.7, 0.1, 0.1, 0.3, 0.6, 1, 0, 0],
        counts: [3, 3, 3],
      },
    };
    const rows = rowWeights({ supervised: [1, 1, 0], teacher: given.teacher.counts }, 0.9);
    expect([rows.supervisedRows, rows.teacherRows]).toEqual([2, 2]);
    const { losses, gradient } = headLossReference({ ...given, weights: rows.weights });
    const masked = losses.map((loss, at) => (at >= 4 ? 0 : loss));
    const loss = stepLoss(masked, rows);
    expect(loss.supervised).toBeCloseTo(1.907606, 6);
    expect(loss.distillation).toBeCloseTo(1.507606, 6);
    expect(loss.total).toBeCloseTo(1.867606, 6);
    const expected = [0.32262, -0.362636, 0.040015, 0.117364, 0.31762, -0.434985, 0, 0, 0];
    expected.forEach((value, at) => {
      expect(gradient[at]).toBeCloseTo(value, 5);
    });
  });

  test('each term is divided by its own rows, or both by all trained rows', () => {
    const rows = { supervised: [1, 1, 1, 1, 0], teacher: [0, 10, 0, 3, 7] };
    const own = rowWeights(rows, 0.8);
    expect([...own.weights].map((weight) => Number(weight.toFixed(6)))).toEqual([
      0.2, 0, 0.2, 0.1, 0.2, 0, 0.2, 0.1, 0, 0,
    ]);
    const all = rowWeights(rows, 0.8, 'trained-rows');
    expect(all.weights[3]).toBeCloseTo(0.05, 6);
    expect(all.weights[2]).toBeCloseTo(0.2, 6);
  });

  test('λ = 1 is plain SFT; steps without teachers or labels have no NaN', () => {
    expect([...rowWeights({ supervised: [1, 1], teacher: [4, 4] }, 1).weights]).toEqual([0.5, 0, 0.5, 0]);
    expect([...rowWeights({ supervised: [1, 1], teacher: [0, 0] }, 0.5).weights]).toEqual([0.25, 0, 0.25, 0]);
    const none = rowWeights({ supervised: [0, 0], teacher: [0, 3] }, 0.5);
    expect([...none.weights]).toEqual([0, 0, 0, 0]);
    expect(stepLoss([0, 0, 0, 0], none)).toEqual({
      supervised: Number.NaN,
      distillation: Number.NaN,
      total: 0,
    });
  });
});
