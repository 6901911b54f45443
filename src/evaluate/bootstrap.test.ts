import { describe, expect, test } from 'vitest';
import { randomStream } from '../util/random.ts';
import { bootstrapInterval, pairedDifference, type Unit, unitsByFamily } from './bootstrap.ts';
import { compareSuites, countScored, scoreSuite, tooFewToTell } from './suite.ts';

const options = { resamples: 2000, seed: 3 };

/** Conversations whose NLL per byte scatters around `mean`; the same conversations are hard for every model. */
function units(count: number, mean: number, offset = 0, seed = 1): Unit[] {
  const draws = randomStream(seed, 'test');
  return Array.from({ length: count }, (_, index) => {
    const bytes = 50 + Math.floor(200 * draws.uniform(index * 2));
    return { numerator: bytes * (mean + 0.1 * draws.normal(index * 2 + 1) + offset), denominator: bytes };
  });
}

describe('bootstrap', () => {
  test('the value is total over total, and the interval holds it', () => {
    const found = bootstrapInterval(
      [
        { numerator: 1, denominator: 10 },
        { numerator: 9, denominator: 30 },
      ],
      options,
    );
    expect(found.value).toBe(0.25);
    expect(found.low).toBeCloseTo(0.1, 9);
    expect(found.high).toBeCloseTo(0.3, 9);
  });

  test('the same seed gives the same interval; equal units give a point', () => {
    expect(bootstrapInterval(units(30, 0.4), options)).toEqual(bootstrapInterval(units(30, 0.4), options));
    const one = bootstrapInterval([{ numerator: 2, denominator: 5 }], options);
    expect(one).toEqual({ value: 0.4, low: 0.4, high: 0.4 });
    expect(() => bootstrapInterval([], options)).toThrow(/held-out/);
  });

  test('95 % intervals hold the true mean about as often as they say', () => {
    let hits = 0;
    const rounds = 200;
    for (let seed = 0; seed < rounds; seed++) {
      const { low, high } = bootstrapInterval(units(60, 0.4, 0, 1000 + seed), { resamples: 300, seed });
      if (low <= 0.4 && 0.4 <= high) hits++;
    }
    expect(hits / rounds).toBeGreaterThan(0.88);
    expect(hits / rounds).toBeLessThan(0.99);
  });

  test('a paired difference sees what single intervals hide', () => {
    const [a, b] = [units(60, 0.4), units(60, 0.4, -0.002)];
    const alone = bootstrapInterval(a, options);
    const difference = pairedDifference(a, b, options);
    expect(alone.high - alone.low).toBeGreaterThan(0.03);
    expect(difference.value).toBeCloseTo(-0.002, 6);
    expect(difference.high).toBeLessThan(0);
    expect(() => pairedDifference(a, b.slice(1), options)).toThrow(/differ in number/);
  });

  test('families are drawn as a whole', () => {
    const three = [
      { numerator: 1, denominator: 2 },
      { numerator: 3, denominator: 4 },
      { numerator: 5, denominator: 6 },
    ];
    expect(unitsByFamily(three, ['x', 'y', 'x'])).toEqual([
      { numerator: 6, denominator: 8 },
      { numerator: 3, denominator: 4 },
    ]);
  });
});

describe('suites', () => {
  const scores = units(40, 0.4).map(({ numerator, denominator }, index) => ({
    id: `c${index}`,
    nats: numerator,
    bytes: denominator,
    right: index % 4 === 0 ? undefined : index % 2 === 0,
  }));

  test('accuracy counts the conversations that say what is right', () => {
    const suite = scoreSuite(scores, options);
    expect(suite.low).toBeLessThan(suite.nllPerByte);
    expect(suite.high).toBeGreaterThan(suite.nllPerByte);
    expect(suite.accuracy?.value).toBeCloseTo(10 / 30, 9);
    expect(
      scoreSuite(
        scores.map(({ right: _, ...score }) => score),
        options,
      ),
    ).not.toHaveProperty('accuracy');
  });

  test('models are compared on the conversations that both have, in any order', () => {
    const better = scores.map((score) => ({ ...score, nats: score.nats * 0.9 })).reverse();
    const difference = compareSuites(scores, better.slice(1), options);
    expect(difference.high).toBeLessThan(0);
    expect(difference.value).toBeLessThan(-0.03);
  });

  test('conversations without scored text do not count, and fewer than eight do not tell', () => {
    const cut = scores.map((score, index) => (index < 7 ? score : { ...score, nats: 0, bytes: 0 }));
    expect(countScored(scores)).toBe(40);
    expect(countScored(cut)).toBe(7);
    expect([0, 1, 7, 8, 40].map(tooFewToTell)).toEqual([true, true, true, false, false]);
    expect(scoreSuite(cut.slice(0, 1), options)).toMatchObject({ low: expect.any(Number) });
  });

  test('equal models are called different too often only where few conversations say so', () => {
    const share = (count: number) => {
      const rounds = 300;
      let wrong = 0;
      for (let seed = 0; seed < rounds; seed++) {
        const [a, b] = [units(count, 0.4, 0, 2 * seed + 1), units(count, 0.4, 0, 2 * seed + 2)];
        const { low, high } = pairedDifference(a, b, { resamples: 200, seed });
        if (low > 0 || high < 0) wrong++;
      }
      return wrong / rounds;
    };
    expect(share(2)).toBeGreaterThan(0.3);
    expect(share(8)).toBeLessThan(0.17);
  });
});
