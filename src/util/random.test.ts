import { describe, expect, test } from 'vitest';
import { logarithm, normal, philox, randomStream, shuffle, uniform } from './random.ts';

describe('philox', () => {
  // known-answer vectors of the Random123 library for philox4x32 with 10 rounds
  test.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)('counter %j, key %j', (counter, key, want) => {
    expect(philox(counter, key)).toEqual(want);
  });
});

describe('streams', () => {
  test('values are fixed for all time', () => {
    const values = [uniform(0, 'a', 0), uniform(1, 'a', 0), uniform(0, 'b', 0), uniform(0, 'a', 1)];
    expect(values).toMatchInlineSnapshot(`
      [
        0.12030674473366587,
        0.9981849903156429,
        0.6408225271447138,
        0.3070667801352067,
      ]
    `);
    expect([normal(42, 'lora.init', 0), normal(42, 'lora.init', 2 ** 40)]).toMatchInlineSnapshot(`
      [
        0.9950255730099199,
        1.4110474524978158,
      ]
    `);
    expect(shuffle([0, 1, 2, 3, 4, 5, 6, 7], 42, 'order')).toMatchInlineSnapshot(`
      [
        3,
        6,
        5,
        7,
        4,
        0,
        1,
        2,
      ]
    `);
  });

  test('seed, stream and counter all matter, with all their bits', () => {
    const seen = new Set<number>();
    for (const seed of [0, 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1])
      for (const stream of ['', 'a', 'b', 'ab', 'ba', 'a\0', 'ä', 7, 8])
        for (const counter of [0, 1, 2 ** 32, 2 ** 33]) seen.add(uniform(seed, stream, counter));
    expect(seen.size).toBe(5 * 9 * 4);
    expect(uniform(3, 7, 1)).toBe(uniform(3, '7', 1));
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN])('the seed %d is refused', (seed) => {
    expect(() => randomStream(seed, 'a')).toThrow(/whole number/);
  });

  test('uniform is uniform and normal is normal', () => {
    const count = 20_000;
    const numbers = randomStream(5, 'moments');
    const uniforms = Array.from({ length: count }, (_, i) => numbers.uniform(i));
    const normals = Array.from({ length: count }, (_, i) => numbers.normal(i));
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / count;
    expect(Math.min(...uniforms)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniforms)).toBeLessThan(1);
    expect(Math.abs(mean(uniforms) - 0.5)).toBeLessThan(0.01);
    const bins = new Array(16).fill(0);
    for (const value of uniforms) bins[Math.floor(value * 16)]++;
    const chi = bins.reduce((sum, n) => sum + (n - count / 16) ** 2 / (count / 16), 0);
    expect(chi).toBeLessThan(40);
    expect(Math.abs(mean(normals))).toBeLessThan(0.03);
    expect(Math.abs(mean(normals.map((x) => x * x)) - 1)).toBeLessThan(0.05);
    expect(Math.abs(mean(normals.map((x) => x ** 4)) - 3)).toBeLessThan(0.25);
    expect(Math.abs(mean(normals.map((x, i) => x * normals[(i + 1) % count]!)))).toBeLessThan(0.03);
  });

  test('shuffle keeps every item, leaves its input, and reaches every order evenly', () => {
    const items = ['a', 'b', 'c', 'd'];
    const orders = new Map<string, number>();
    for (let i = 0; i < 4800; i++) {
      const order = shuffle(items, i, 'orders').join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(items).toEqual(['a', 'b', 'c', 'd']);
    expect(orders.size).toBe(24);
    for (const [order, n] of orders) {
      expect([...order].sort().join('')).toBe('abcd');
      expect(Math.abs(n - 200)).toBeLessThan(70);
    }
    expect(shuffle([], 1, 'x')).toEqual([]);
  });

  test('the logarithm is right to the last digits', () => {
    for (let i = 0; i < 2000; i++) {
      const x = uniform(1, 'log', i) * 10 ** ((i % 40) - 30);
      expect(Math.abs(logarithm(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.abs(Math.log(x)) + 1e-18);
    }
    expect(logarithm(1)).toBe(0);
  });
});
