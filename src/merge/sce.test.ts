import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deltaStatistics, energy, nearestWeights, normFactor } from './deltaStatistics.ts';
import { equalWeights, weightedSum } from './linear.ts';
import { loraDelta } from './loraDelta.ts';
import { sceMerge, selectByVariance } from './sce.ts';

const d = (...values: number[]) => Float32Array.from(values);
const DELTAS = [d(0.5, -0.25, 0.125, 0), d(0.125, 0.25, 0.125, 0), d(-0.25, 0.125, 0.125, 0.25)];
const onOnes = (delta: Float32Array) => Array.from(delta, (value) => Number((1 + value).toFixed(6)));

describe('D.4: three deltas on a tensor of ones', () => {
  test('SCE, τ = 0.67: the three variants', () => {
    expect([...selectByVariance(DELTAS, 0.67)]).toEqual([1, 1, 0, 0]);
    const paper = sceMerge(DELTAS, { variant: 'paper', tau: 0.67 });
    expect(paper.coefficients.map((eta) => eta.toFixed(6))).toEqual(['0.666667', '0.166667', '0.166667']);
    expect(paper.selected).toBe(2);
    expect(onOnes(paper.delta)).toEqual([1.354167, 1.0625, 1, 1]);
    expect(onOnes(sceMerge(DELTAS, { variant: 'fork', tau: 0.67 }).delta)).toEqual([
      1.425, 1.1875, 1.125, 1.25,
    ]);
    expect(onOnes(sceMerge(DELTAS, { variant: 'upstream', tau: 0.67 }).delta)).toEqual([1.425, 1.1875, 1, 1]);
  });

  test('SCE, τ = 1', () => {
    const paper = sceMerge(DELTAS, { variant: 'paper' });
    expect(paper.coefficients.map((eta) => eta.toFixed(6))).toEqual(['0.567568', '0.162162', '0.270270']);
    expect(onOnes(paper.delta)).toEqual([1.304054, 1.074324, 1.125, 1.067568]);
    for (const variant of ['fork', 'upstream'] as const) {
      expect(onOnes(sceMerge(DELTAS, { variant }).delta)).toEqual([1.416667, 1.171875, 1.125, 1.25]);
    }
    expect(sceMerge(DELTAS)).toEqual(sceMerge(DELTAS, { variant: 'fork', tau: 1 }));
  });

  test('linear and task arithmetic', () => {
    const linear = weightedSum(DELTAS, equalWeights(3), { normalise: true });
    expect(onOnes(linear)).toEqual([1.125, 1.041667, 1.125, 1.083333]);
    const arithmetic = weightedSum(DELTAS, [0.3, 0.3, 0.3], { normalise: false });
    expect(onOnes(arithmetic)).toEqual([1.1125, 1.0375, 1.1125, 1.075]);
  });
});

describe('SCE', () => {
  test('D.2: light deltas keep their coefficients; only upstream calls them equal', () => {
    const light = [d(Math.sqrt(5e-8)), d(Math.sqrt(1e-8))];
    const coefficients = (variant: 'fork' | 'paper' | 'upstream') =>
      sceMerge(light, { variant }).coefficients.map((eta) => Number(eta.toFixed(4)));
    expect(coefficients('fork')).toEqual([0.8333, 0.1667]);
    expect(coefficients('paper')).toEqual([0.8333, 0.1667]);
    expect(coefficients('upstream')).toEqual([0.5, 0.5]);
  });

  test('ties of the variance: the lower index first', () => {
    const pair = [d(1, 2, 1, 1, 0), d(-1, -2, -1, -1, 0)];
    expect([...selectByVariance(pair, 0.5)]).toEqual([1, 1, 0, 0, 0]);
    expect([...selectByVariance(pair, 0.75)]).toEqual([1, 1, 1, 0, 0]);
    expect([...selectByVariance(pair, 0.2)]).toEqual([0, 0, 0, 0, 0]);
  });

  const delta = (length: number) =>
    fc.array(fc.double({ min: -1, max: 1, noNaN: true }).map(Math.fround), {
      minLength: length,
      maxLength: length,
    });
  const several = fc.integer({ min: 1, max: 12 }).chain((length) =>
    fc.array(
      delta(length).map((values) => Float32Array.from(values)),
      { minLength: 1, maxLength: 4 },
    ),
  );
  const variants = fc.constantFrom('fork', 'paper', 'upstream');

  test('one target at τ = 1 comes back in fork and upstream; one target at τ < 1 in fork, the pivot elsewhere', () => {
    fc.assert(
      fc.property(several, ([only]) => {
        const clean = only!.map((value) => (Math.abs(value) < 1e-2 ? 0.5 : value));
        for (const variant of ['fork', 'upstream'] as const) {
          sceMerge([clean], { variant }).delta.forEach((value, at) => {
            expect(value).toBeCloseTo(clean[at]!, 6);
          });
        }
        sceMerge([clean], { tau: 0.5 }).delta.forEach((value, at) => {
          expect(value).toBeCloseTo(clean[at]!, 6);
        });
        for (const variant of ['paper', 'upstream'] as const) {
          expect(energy(sceMerge([clean], { variant, tau: 0.5 }).delta)).toBe(0);
        }
      }),
    );
  });

  test('equal targets give that target; zero targets give the pivot, with equal coefficients', () => {
    fc.assert(
      fc.property(several, variants, ([only], variant) => {
        const clean = only!.map((value) => (Math.abs(value) < 1e-2 ? 0.5 : value));
        sceMerge([clean, clean, clean], { variant }).delta.forEach((value, at) => {
          expect(value).toBeCloseTo(clean[at]!, 6);
        });
        const zero = new Float32Array(clean.length);
        const merged = sceMerge([zero, zero], { variant });
        expect(energy(merged.delta)).toBe(0);
        expect(merged.coefficients).toEqual([0.5, 0.5]);
      }),
    );
  });

  test('scaling all deltas scales the result, however small they get', () => {
    fc.assert(
      fc.property(
        several,
        fc.constantFrom('fork', 'paper'),
        fc.constantFrom(0.3, 0.67, 1),
        (deltas, variant, tau) => {
          const scale = 2 ** -20;
          const small = deltas.map((one) => Float64Array.from(one, (value) => value * scale));
          const [merged, scaled] = [sceMerge(deltas, { variant, tau }), sceMerge(small, { variant, tau })];
          scaled.delta.forEach((value, at) => {
            expect(value / scale).toBeCloseTo(merged.delta[at]!, 6);
          });
        },
      ),
    );
  });

  test('elements on which targets disagree move with the sign of their sum', () => {
    const merged = sceMerge([d(0.5, 1), d(-0.25, -1)]);
    expect(merged.delta[0]).toBe(0.5);
    expect(merged.delta[1]).toBe(1);
  });
});

describe('weights of a linear merge', () => {
  test('that cancel, or do not fit, are refused', () => {
    expect(() => weightedSum(DELTAS, [1, -1, 0], { normalise: true })).toThrow(/sum to 0/);
    expect(() => weightedSum(DELTAS, [1, Number.NaN, 0], { normalise: true })).toThrow(/merge\.weights/);
    expect(() => weightedSum(DELTAS, [1, 1], { normalise: false })).toThrow(/2 entries for 3 sources/);
    expect(weightedSum(DELTAS, [1, -1, 0], { normalise: false })[0]).toBe(0.375);
  });
});

describe('statistics of deltas', () => {
  test('norms, inner products and the share of conflicting signs', () => {
    const { norms, energies, products, conflictShare } = deltaStatistics([d(3, 4, 0), d(-1, 0, 2)]);
    expect(norms[0]).toBe(5);
    expect(energies).toEqual([25, 5]);
    expect([...products]).toEqual([25, -3, -3, 5]);
    expect(conflictShare).toBeCloseTo(4 / 10, 12);
    expect(deltaStatistics([d(0, 0)]).conflictShare).toBe(0);
  });

  test('the factor of the scaled control gives the merged norm', () => {
    const [sft, merged] = [
      [d(1, 2), d(3)],
      [d(2, 2), d(-6)],
    ];
    const factor = normFactor(sft!.map(energy), merged!.map(energy));
    const scaled = sft!.map((one) => one.map((value) => value * factor));
    const total = (deltas: Float32Array[]) => deltas.reduce((sum, one) => sum + energy(one), 0);
    expect(total(scaled)).toBeCloseTo(total(merged!), 4);
    expect(normFactor([0], [3])).toBe(1);
  });

  test('nearest weights: exact for linear merges, least squares else, 0 for a source that adds nothing', () => {
    const [a, b] = [d(1, 2, 3, -1), d(0.5, -1, 2, 2)];
    const linear = weightedSum([a, b], [0.7, -0.2], { normalise: false });
    const found = nearestWeights(linear, [a, b]);
    expect(found.weights[0]).toBeCloseTo(0.7, 6);
    expect(found.weights[1]).toBeCloseTo(-0.2, 6);
    expect(found.residual).toBeLessThan(1e-6);
    const sce = sceMerge([a, b]).delta;
    const near = nearestWeights(sce, [a, b]);
    const miss = (weights: readonly number[]) => {
      const sum = weightedSum([a, b], weights, { normalise: false });
      return Math.sqrt(energy(sce.map((value, at) => value - sum[at]!)) / energy(sce));
    };
    expect(miss(near.weights)).toBeCloseTo(near.residual, 5);
    for (const step of [0.01, -0.01]) {
      expect(miss([near.weights[0]! + step, near.weights[1]!])).toBeGreaterThan(near.residual);
      expect(miss([near.weights[0]!, near.weights[1]! + step])).toBeGreaterThan(near.residual);
    }
    const twins = nearestWeights(a, [a, a]);
    expect(twins.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6);
    expect(nearestWeights(d(0, 0), [d(0, 0)])).toEqual({ weights: [0], residual: 0 });
  });

  test('a LoRA delta is scale · B A', () => {
    const factors = { rank: 2, inputs: 3, outputs: 2, scale: 2, a: d(1, 2, 3, 4, 5, 6), b: d(1, 0, 0.5, -1) };
    expect([...loraDelta(factors)]).toEqual([2, 4, 6, -7, -8, -9]);
  });
});
