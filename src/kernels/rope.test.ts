import { describe, expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { dotProduct, worstError } from './reference/compare.ts';
import { ropeReference } from './reference/rope.ts';
import { type RopeShape, rope } from './rope.ts';
import { ropeFrequencies, ropeTable } from './ropeFrequencies.ts';

const shapes: RopeShape[] = [
  { rows: 1, tokens: 1, heads: 1, headWidth: 2, rot: 2 },
  { rows: 15, tokens: 5, heads: 3, headWidth: 16, rot: 16 },
  { rows: 34, tokens: 17, heads: 2, headWidth: 24, rot: 6 },
  { rows: 65, tokens: 65, heads: 4, headWidth: 64, rot: 64 },
  { rows: 7, tokens: 7, heads: 2, headWidth: 8, rot: 8, stride: 40, offset: 19 },
];

describe('frequencies', () => {
  test('plain ones are theta^(-2j / rot)', () => {
    const got = ropeFrequencies({ theta: 10_000, rot: 8 });
    expect(worstError(got, [1, 0.1, 0.01, 0.001])).toBeLessThan(1e-7);
  });

  test('linear scaling divides them all', () => {
    const got = ropeFrequencies({ theta: 10_000, rot: 8, scaling: { kind: 'linear', factor: 4 } });
    expect(worstError(got, [0.25, 0.025, 0.0025, 0.00025])).toBeLessThan(1e-7);
  });

  test('llama3 scaling keeps short waves, stretches long ones and blends between', () => {
    const spec = { theta: 500_000, rot: 64 };
    const plain = ropeFrequencies(spec);
    const got = ropeFrequencies({
      ...spec,
      scaling: {
        kind: 'llama3',
        factor: 32,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalPositions: 8192,
      },
    });
    const ratio = got.map((f, j) => f / plain[j]!);
    const turns = plain.map((f) => (8192 * f) / (2 * Math.PI));
    ratio.forEach((r, j) => {
      if (turns[j]! > 4) expect(r).toBe(1);
      else if (turns[j]! < 1) expect(r).toBeCloseTo(1 / 32, 7);
      else expect(r).toBeCloseTo(1 / 32 + ((31 / 32) * (turns[j]! - 1)) / 3, 5);
    });
    expect(ratio.filter((r) => r < 1 && r > 0.032).length).toBeGreaterThan(1);
  });
});

test.each(shapes)('%o agrees with the reference and turns back', async (shape) => {
  const spec = { theta: 10_000, rot: shape.rot };
  const table = ropeTable({ ...spec, positions: shape.tokens });
  const x = testValues(shape.rows * (shape.stride ?? shape.heads * shape.headWidth));
  const out = await runOnDevice({ x, back: x, table }, (b) => [
    rope({ x: b.x, table: b.table }, shape),
    rope({ x: b.back, table: b.table }, shape),
    rope({ x: b.back, table: b.table }, shape, true),
  ]);
  expect(worstError(out.x, ropeReference(x, shape, ropeFrequencies(spec)))).toBeLessThan(2e-6);
  expect(worstError(out.back, x)).toBeLessThan(1e-6);
});

test('the inverse turn is the transpose: <y, R x> = <R^-1 y, x>', () => {
  const shape = shapes[2]!;
  const count = shape.rows * shape.heads * shape.headWidth;
  const [x, y] = [testValues(count, 1), testValues(count, 2)];
  const frequencies = ropeFrequencies({ theta: 100, rot: shape.rot });
  const turned = ropeReference(x, shape, frequencies);
  const back = ropeReference(y, shape, frequencies, 0, true);
  expect(dotProduct(y, turned)).toBeCloseTo(dotProduct(back, x), 10);
});

test('a cache starts at the position that the state holds', async () => {
  const shape = { rows: 3, tokens: 3, heads: 2, headWidth: 16, rot: 16 };
  const spec = { theta: 10_000, rot: 16 };
  const x = testValues(96);
  const table = ropeTable({ ...spec, positions: 5000 });
  const out = await runOnDevice({ x, table, state: Uint32Array.of(4997, 3) }, (b) => [rope(b, shape)]);
  expect(worstError(out.x, ropeReference(x, shape, ropeFrequencies(spec), 4997))).toBeLessThan(1e-3);
  const exact = x.map((_, at) => {
    const [row, j] = [Math.floor(at / 32), at % 8];
    const low = at % 16 < 8;
    const [c, s] = [table[(4997 + row) * 16 + 2 * j]!, table[(4997 + row) * 16 + 2 * j + 1]!];
    return low ? x[at]! * c - x[at + 8]! * s : x[at]! * c + x[at - 8]! * s;
  });
  expect(worstError(out.x, exact)).toBeLessThan(1e-6);
});

describe('lengths', () => {
  const base = { theta: 10_000, rot: 8 } as const;

  test('dynamic angles are plain up to the original length, then slow down with the sequence', () => {
    const scaling = { kind: 'dynamic', factor: 2, originalPositions: 16 } as const;
    const at = (length: number) => ropeFrequencies({ ...base, scaling, length });
    expect(at(16)).toEqual(ropeFrequencies(base));
    const theta = 10_000 * (2 * 1.5 - 1) ** (8 / 6);
    expect(worstError(at(24), ropeFrequencies({ theta, rot: 8 }))).toBeLessThan(1e-6);
    const table = ropeTable({ ...base, scaling, positions: 32, length: 20 });
    const row = (position: number, length: number) =>
      ropeTable({ ...base, scaling, positions: position + 1, length }).slice(position * 8);
    expect(table.slice(3 * 8, 4 * 8)).toEqual(row(3, 20));
    expect(table.slice(30 * 8, 31 * 8)).toEqual(row(30, 31));
  });

  test('longrope changes its divisors and multiplies by its factor', () => {
    const scaling = {
      kind: 'longrope',
      short: [1, 1, 1, 1],
      long: [2, 4, 8, 16],
      originalPositions: 10,
      attentionFactor: 1.5,
    } as const;
    const plain = ropeFrequencies(base);
    expect(ropeFrequencies({ ...base, scaling, length: 10 })).toEqual(plain);
    const long = ropeFrequencies({ ...base, scaling, length: 11 });
    expect(
      worstError(
        long,
        plain.map((f, j) => f / 2 ** (j + 1)),
      ),
    ).toBeLessThan(1e-6);
    expect(ropeTable({ ...base, scaling, positions: 1 })[0]).toBe(1.5);
  });

  test('yarn keeps fast turns, divides slow ones and is linear between', () => {
    const scaling = {
      kind: 'yarn',
      factor: 8,
      originalPositions: 64,
      betaFast: 8,
      betaSlow: 1,
      truncate: false,
      attentionFactor: 1.2,
    } as const;
    const spec = { theta: 100, rot: 16 };
    const plain = ropeFrequencies(spec);
    const ratio = ropeFrequencies({ ...spec, scaling }).map((f, j) => f / plain[j]!);
    const turns = plain.map((f) => (64 * f) / (2 * Math.PI));
    turns.forEach((count, j) => {
      if (count > 8) expect(ratio[j]).toBeCloseTo(1, 6);
      else if (count < 1) expect(ratio[j]).toBeCloseTo(1 / 8, 6);
      else expect(ratio[j]! > 1 / 8 && ratio[j]! < 1).toBe(true);
    });
    expect(ropeTable({ ...spec, scaling, positions: 1 })[0]).toBeCloseTo(1.2, 6);
  });
});
