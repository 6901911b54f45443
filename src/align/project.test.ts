import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { projectRow, renormalise, SparseRow, survivingShare } from './project.ts';

const mapOf = (pairs: Record<number, number>) => ({ target: (id: number) => pairs[id] ?? -1 });

function softmax(logits: readonly number[]): number[] {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return logits.map((logit) => logit - Math.log(sum));
}

function published(logits: readonly number[], target: Record<number, number>, rule: 'sum' | 'first-wins') {
  const row = new SparseRow();
  projectRow([0, 1, 2, 3], softmax(logits), mapOf(target), row, rule);
  renormalise(row);
  return Object.fromEntries(row.ids.map((id, at) => [id, Number(row.probabilities[at]!.toFixed(6))]));
}

describe('A.9.6: source logits 5, 4, 3, 2 on pivot ids 7, 9, 7, 4', () => {
  const logits = [5, 4, 3, 2];
  const target = { 0: 7, 1: 9, 2: 7, 3: 4 };

  test('mass-summing', () => {
    expect(published(logits, target, 'sum')).toEqual({ 4: 0.032059, 7: 0.731059, 9: 0.236883 });
  });

  test('an unmapped id is dropped', () => {
    expect(published(logits, { 0: 7, 2: 7, 3: 4 }, 'sum')).toEqual({ 4: 0.04201, 7: 0.95799 });
  });

  test('first wins, at temperature 1 and 0.5', () => {
    expect(published(logits, target, 'first-wins')).toEqual({ 4: 0.035119, 7: 0.705385, 9: 0.259496 });
    const colder = logits.map((logit) => logit / 0.5);
    expect(published(colder, target, 'first-wins')).toEqual({ 4: 0.002179, 7: 0.878878, 9: 0.118943 });
  });
});

describe('projection', () => {
  test('keeps true probabilities and says what was lost', () => {
    const row = new SparseRow();
    const mass = projectRow([5, 6, 7], [0.4, 0.3, 0.1].map(Math.log), mapOf({ 5: 1, 7: 1 }), row);
    expect(row.ids).toEqual([1]);
    expect(row.get(1)).toBeCloseTo(0.5, 12);
    expect(row.get(2)).toBe(0);
    expect(mass.kept).toBeCloseTo(0.8, 12);
    expect(survivingShare(mass)).toBeCloseTo(0.625, 12);
    expect(survivingShare({ kept: 0, mapped: 0 })).toBe(0);
  });

  test('rows sum to 1 after renormalising, ids are unique, nothing is invented', () => {
    const entries = fc.array(
      fc.record({
        target: fc.integer({ min: -1, max: 5 }),
        weight: fc.double({ min: 0.001, max: 1, noNaN: true }),
      }),
      { minLength: 1, maxLength: 10 },
    );
    fc.assert(
      fc.property(entries, fc.constantFrom('sum', 'first-wins'), (given, rule) => {
        const total = given.reduce((sum, { weight }) => sum + weight, 0);
        const sorted = [...given].sort((a, b) => b.weight - a.weight);
        const row = new SparseRow();
        const mass = projectRow(
          sorted.map((_, index) => index),
          sorted.map(({ weight }) => Math.log(weight / total)),
          { target: (id) => sorted[id]!.target },
          row,
          rule,
        );
        expect(new Set(row.ids).size).toBe(row.ids.length);
        expect(mass.mapped).toBeLessThanOrEqual(mass.kept + 1e-12);
        const mapped = sorted
          .filter(({ target }) => target >= 0)
          .reduce((sum, { weight }) => sum + weight / total, 0);
        if (rule === 'sum') expect(mass.mapped).toBeCloseTo(mapped, 9);
        renormalise(row);
        expect(row.mass()).toBeCloseTo(row.ids.length > 0 ? 1 : 0, 9);
      }),
    );
  });
});
