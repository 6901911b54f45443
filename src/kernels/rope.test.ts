import { describe, expect, test } from 'vitest';
import { runOnGpu, testValues } from '../gpu/testing.ts';
import { dotProduct, worstError } from './reference/compare.ts';
import { ropeReference } from './reference/rope.ts';
import { type RopeShape, rope, ropeFrequencies, ropeTable } from './rope.ts';

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
  const out = await runOnGpu({ x, back: x, table }, (b) => [
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
  const out = await runOnGpu({ x, table, state: Uint32Array.of(4997, 3) }, (b) => [rope(b, shape)]);
  expect(worstError(out.x, ropeReference(x, shape, ropeFrequencies(spec), 4997))).toBeLessThan(1e-3);
  const exact = x.map((_, at) => {
    const [row, j] = [Math.floor(at / 32), at % 8];
    const low = at % 16 < 8;
    const [c, s] = [table[(4997 + row) * 16 + 2 * j]!, table[(4997 + row) * 16 + 2 * j + 1]!];
    return low ? x[at]! * c - x[at + 8]! * s : x[at]! * c + x[at - 8]! * s;
  });
  expect(worstError(out.x, exact)).toBeLessThan(1e-6);
});
