import { describe, expect, test } from 'vitest';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { runOnDevice, type TestArray, testValues } from '../device/testing.ts';
import { type MergeMethod, mergeDeltas } from './deltaMerge.ts';
import { selectTop, selectTopBytes } from './deltaSelect.ts';
import { deltaStats, deltaStatsBytes, deltaStatsCount, readDeltaStats } from './deltaStats.ts';
import type { DeltaShape, DeltaSource } from './deltaTile.ts';
import { poisoned, worstError } from './reference/compare.ts';
import {
  factorDeltas,
  mergeReference,
  type SceVariant,
  sceReference,
  sceWeights,
  selectReference,
  varianceReference,
} from './reference/deltaMerge.ts';

type Arrays = Record<string, Float32Array<ArrayBuffer>>;

function denseArrays(deltas: readonly ArrayLike<number>[]): Arrays {
  return { deltas: Float32Array.from(deltas.flatMap((delta) => Array.from(delta))) };
}

/** Rank-K factors of rows of length K: A is the identity. */
function identityFactors(deltas: readonly ArrayLike<number>[], shape: DeltaShape): Arrays {
  const { sources, rows, columns } = shape;
  const a = new Float32Array(sources * columns * columns);
  const b = new Float32Array(rows * sources * columns);
  for (let s = 0; s < sources; s++) {
    for (let k = 0; k < columns; k++) a[(s * columns + k) * columns + k] = 2;
    for (let n = 0; n < rows; n++)
      for (let k = 0; k < columns; k++)
        b[(n * sources + s) * columns + k] = deltas[s]?.[n * columns + k] ?? 0;
  }
  return { a, b, scales: new Float32Array(sources).fill(0.5) };
}

function randomFactors({ sources, rows, columns }: DeltaShape, rank: number): Arrays {
  return {
    a: testValues(sources * rank * columns, 3),
    b: testValues(rows * sources * rank, 4, 0.1),
    scales: Float32Array.from({ length: sources }, (_, s) => 0.5 + s),
  };
}

function sourceOf(b: Record<string, DeviceBuffer>, rank: number): DeltaSource<DeviceBuffer> {
  return b.deltas
    ? { kind: 'dense', deltas: b.deltas }
    : { kind: 'factors', a: b.a!, b: b.b!, scales: b.scales!, rank };
}

/** Statistics of a matrix and, for τ < 1, the selection; then the merge with SCE's own weights. */
async function sceOnGpu(source: Arrays, shape: DeltaShape, rank: number, tau: number, variant: SceVariant) {
  const bytes = selectTopBytes(shape);
  const count = deltaStatsCount(shape.sources);
  const scratch = {
    variance: poisoned(bytes.variance / 4),
    selection: poisoned(bytes.selection / 4),
    histogram: poisoned(bytes.histogram / 4),
    partials: poisoned(deltaStatsBytes(shape) / 4),
    stats: poisoned(count + 1),
    delta: poisoned(shape.rows * shape.columns),
  };
  const prepare = (b: Record<string, DeviceBuffer>) => {
    const chosen = { variance: b.variance!, selection: b.selection! };
    const select =
      tau < 1 ? selectTop(sourceOf(b, rank), { ...chosen, histogram: b.histogram! }, shape, tau) : [];
    return { select, chosen: tau < 1 ? chosen : undefined };
  };
  const first = await runOnDevice({ ...source, ...scratch } as Record<string, TestArray>, (b) => {
    const { select, chosen } = prepare(b);
    const buffers = { partials: b.partials!, stats: b.stats! };
    return [...select, ...deltaStats(sourceOf(b, rank), buffers, shape, 1, chosen)];
  });
  const stats = readDeltaStats(first.stats!, shape.sources, 1);
  const weights = Float32Array.of(7, ...sceWeights(stats.sources.map((s) => s.selectedEnergy)));
  const method: MergeMethod = { kind: 'sce', divide: variant !== 'paper' };
  const second = await runOnDevice({ ...source, ...scratch, weights } as Record<string, TestArray>, (b) => {
    const { select, chosen } = prepare(b);
    const selection = variant === 'fork' || !chosen ? {} : { selection: chosen };
    const buffers = { weights: b.weights!, delta: b.delta! };
    return [
      ...select,
      mergeDeltas(sourceOf(b, rank), buffers, shape, method, { weightStart: 1, ...selection }),
    ];
  });
  return { delta: second.delta!, variance: first.variance!, weights: weights.slice(1), stats };
}

// theta0 = 1 everywhere, three targets of four elements
const worked = [
  [0.5, -0.25, 0.125, 0],
  [0.125, 0.25, 0.125, 0],
  [-0.25, 0.125, 0.125, 0.25],
];
const workedResults: [SceVariant, number, number[]][] = [
  ['paper', 0.67, [1.354167, 1.0625, 1, 1]],
  ['fork', 0.67, [1.425, 1.1875, 1.125, 1.25]],
  ['upstream', 0.67, [1.425, 1.1875, 1, 1]],
  ['paper', 1, [1.304054, 1.074324, 1.125, 1.067568]],
  ['fork', 1, [1.416667, 1.171875, 1.125, 1.25]],
  ['upstream', 1, [1.416667, 1.171875, 1.125, 1.25]],
];

describe('worked example', () => {
  test.each(workedResults)('SCE %s, share %d', async (variant, tau, want) => {
    const expected = want.map((x) => x - 1);
    expect(worstError(sceReference(worked, tau, variant), expected)).toBeLessThan(2e-6);
    for (const [rows, columns] of [
      [1, 4],
      [2, 2],
      [4, 1],
    ] as const) {
      const shape = { sources: 3, rows, columns };
      for (const source of [denseArrays(worked), identityFactors(worked, shape)]) {
        const { delta } = await sceOnGpu(source, shape, columns, tau, variant);
        expect(worstError(delta, expected)).toBeLessThan(2e-6);
      }
    }
  });

  test('variances, energies and the linear merges', async () => {
    const shape = { sources: 3, rows: 1, columns: 4 };
    const { variance, weights, stats } = await sceOnGpu(denseArrays(worked), shape, 0, 0.67, 'fork');
    expect(worstError(variance, [0.09375, 0.0451389, 0, 0.0138889])).toBeLessThan(1e-6);
    expect(worstError(weights, [2 / 3, 1 / 6, 1 / 6])).toBeLessThan(1e-6);
    const energies = stats.sources.map(({ energy }) => energy);
    expect(worstError(sceWeights(energies), [0.567568, 0.162162, 0.27027])).toBeLessThan(2e-6);
    for (const [given, want] of [
      [sceWeights(energies), [0.236486, -0.067568, 0.125, 0.067568]],
      [
        [1 / 3, 1 / 3, 1 / 3],
        [0.125, 0.041667, 0.125, 0.083333],
      ],
      [
        [0.3, 0.3, 0.3],
        [0.1125, 0.0375, 0.1125, 0.075],
      ],
    ] as const) {
      const out = await runOnDevice(
        { ...denseArrays(worked), weights: Float32Array.from(given), delta: poisoned(4) } as Arrays,
        (b) => [
          mergeDeltas(sourceOf(b, 0), { weights: b.weights!, delta: b.delta! }, shape, { kind: 'linear' }),
        ],
      );
      expect(worstError(out.delta!, want)).toBeLessThan(4e-6);
    }
  });
});

describe('what must hold for every merge of deltas', () => {
  const shape = { sources: 3, rows: 5, columns: 7 };
  const one = testValues(35, 6, 1e-4);
  const variants: SceVariant[] = ['paper', 'fork', 'upstream'];

  test('equal targets give that target, zeros give the pivot', async () => {
    for (const variant of variants) {
      const equal = await sceOnGpu(denseArrays([one, one, one]), shape, 0, 1, variant);
      expect(worstError(equal.delta, one)).toBeLessThan(1e-6);
      const zeros = await sceOnGpu(
        denseArrays([one, one, one].map((x) => x.map(() => 0))),
        shape,
        0,
        1,
        variant,
      );
      expect([...zeros.delta].every((x) => x === 0)).toBe(true);
    }
  });

  test('small deltas are weighted like large ones', async () => {
    const deltas = [one, testValues(35, 7, 3e-5), testValues(35, 8, 2e-4)];
    for (const variant of variants) {
      const small = await sceOnGpu(denseArrays(deltas), shape, 0, 0.5, variant);
      const large = await sceOnGpu(
        denseArrays(deltas.map((x) => x.map((v) => v * 2 ** 12))),
        shape,
        0,
        0.5,
        variant,
      );
      expect(worstError(small.delta, sceReference(deltas, 0.5, variant))).toBeLessThan(2e-6);
      expect(
        worstError(
          large.delta,
          small.delta.map((v) => v * 2 ** 12),
        ),
      ).toBe(0);
    }
  });
});

test("mergekit's SCE of three models", async () => {
  // recorded from mergekit 0.1.4 (commit a6e4028), select_topk 1
  const base = [0.5, -1.25, 2, 1.5, 0.75, -0.5];
  const models = [
    [0.75, -1.75, 2.125, 2.25, 0.6875, -0.875],
    [0.375, -1.5, 2.5, 1.8125, 0.9375, -0.5625],
    [0.875, -1.0625, 1.75, 1, 1.3125, -0.375],
  ];
  const want = [0.805263162, -1.672526, 2.24121094, 2.11442065, 1.17686176, -0.778157592];
  const deltas = models.map((model) => model.map((x, i) => x - base[i]!));
  const shape = { sources: 3, rows: 2, columns: 3 };
  const { delta, weights } = await sceOnGpu(denseArrays(deltas), shape, 0, 1, 'upstream');
  expect(worstError(weights, [0.4461279461, 0.2003367003, 0.3535353535])).toBeLessThan(1e-6);
  expect(
    worstError(
      [...delta].map((x, i) => x + base[i]!),
      want,
    ),
  ).toBeLessThan(1e-6);
});

const shapes: [DeltaShape, number][] = [
  [{ sources: 1, rows: 3, columns: 5 }, 1],
  [{ sources: 2, rows: 135, columns: 257 }, 4],
  [{ sources: 3, rows: 33, columns: 65 }, 3],
  [{ sources: 5, rows: 9, columns: 513 }, 2],
];

describe.each(shapes)('%j, rank %i', (shape, rank) => {
  const source = randomFactors(shape, rank);
  const { a, b, scales } = source;
  const deltas = factorDeltas({ a: a!, b: b!, scales: scales!, rank }, shape);

  test('linear and SCE merges from factors, set and added', async () => {
    const weights = testValues(shape.sources + 2, 8).map((x) => Math.abs(x) + 0.1);
    const start = testValues(shape.rows * shape.columns, 9);
    const methods: MergeMethod[] = [{ kind: 'linear' }, { kind: 'sce', divide: true }];
    if (shape.sources === 2) methods.push({ kind: 'sce', divide: false });
    for (const method of methods) {
      const out = await runOnDevice(
        { ...source, weights, delta: poisoned(start.length), sum: start } as Arrays,
        (buffers) => {
          const from = sourceOf(buffers, rank);
          const { weights, delta, sum } = buffers as Record<string, DeviceBuffer>;
          return [
            mergeDeltas(from, { weights: weights!, delta: delta! }, shape, method, { weightStart: 2 }),
            mergeDeltas(from, { weights: weights!, delta: sum! }, shape, method, {
              weightStart: 2,
              accumulate: true,
            }),
          ];
        },
      );
      const want = mergeReference(deltas, weights.slice(2), method);
      expect(worstError(out.delta!, want)).toBeLessThan(2e-6);
      expect(
        worstError(
          out.sum!,
          want.map((x, i) => x + start[i]!),
        ),
      ).toBeLessThan(2e-6);
    }
  });

  test('energies, sign conflicts and pairs', async () => {
    const { stats } = await sceOnGpu(source, shape, rank, 1, 'fork');
    const elected = deltas[0]!.map((_, i) =>
      deltas.reduce((sum, delta) => sum + delta[i]!, 0) >= 0 ? 1 : -1,
    );
    const sum = (delta: Float64Array, term: (x: number, i: number) => number) =>
      delta.reduce((total, x, i) => total + term(x, i), 0);
    const close = (got: number, want: number, scale = Math.abs(want)) =>
      expect(Math.abs(got - want)).toBeLessThanOrEqual(3e-6 * scale);
    stats.sources.forEach((got, s) => {
      const delta = deltas[s]!;
      const mass = sum(delta, Math.abs);
      close(
        got.energy,
        sum(delta, (x) => x * x),
      );
      close(got.selectedEnergy, got.energy);
      close(got.mass, mass);
      close(
        got.opposedMass,
        sum(delta, (x, i) => (Math.sign(x) === -elected[i]! ? Math.abs(x) : 0)),
        mass,
      );
    });
    expect(stats.pairs.length).toBe((shape.sources * (shape.sources - 1)) / 2);
    for (const { first, second, dot, conflictMass } of stats.pairs) {
      const [x, y] = [deltas[first]!, deltas[second]!];
      const scale = Math.sqrt(sum(x, (v) => v * v) * sum(y, (v) => v * v));
      close(
        dot,
        sum(x, (v, i) => v * y[i]!),
        scale,
      );
      const want = sum(x, (v, i) => (v * y[i]! < 0 ? Math.min(Math.abs(v), Math.abs(y[i]!)) : 0));
      close(conflictMass, want, sum(x, Math.abs));
    }
  });

  test.runIf(shape.sources === 2 || shape.sources === 5)(
    'the selection is exact on its variances',
    async () => {
      const { variance } = await sceOnGpu(source, shape, rank, 0.3, 'paper');
      expect(worstError(variance, varianceReference(deltas))).toBeLessThan(3e-6);
      const mask = selectReference(variance, 0.3);
      const { delta, stats, weights } = await sceOnGpu(source, shape, rank, 0.3, 'upstream');
      const want = mergeReference(deltas, weights, { kind: 'sce', divide: true }, mask);
      expect(worstError(delta, want)).toBeLessThan(2e-6);
      stats.sources.forEach(({ selectedEnergy }, s) => {
        const energy = deltas[s]!.reduce((sum, x, i) => sum + (mask[i] ? x * x : 0), 0);
        expect(Math.abs(selectedEnergy - energy)).toBeLessThanOrEqual(3e-6 * energy);
      });
    },
  );
});

test('eight sources', async () => {
  const shape = { sources: 8, rows: 70, columns: 19 };
  const source = randomFactors(shape, 1);
  const deltas = factorDeltas({ a: source.a!, b: source.b!, scales: source.scales!, rank: 1 }, shape);
  const { delta, weights } = await sceOnGpu(source, shape, 1, 1, 'paper');
  expect(worstError(delta, sceReference(deltas, 1, 'paper'))).toBeLessThan(2e-6);
  expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
});

test('nine sources are refused', () => {
  const shape = { sources: 9, rows: 1, columns: 1 };
  const source = { kind: 'dense', deltas: 0 } as const;
  const merge = () => mergeDeltas(source, { weights: 0, delta: 0 }, shape, { kind: 'linear' });
  expect(merge).toThrow(/9 sources/);
});
