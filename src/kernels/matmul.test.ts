import { describe, expect, test } from 'vitest';
import type { Tuning } from '../device/device.ts';
import { runOnDevice, TEST_TUNING, TEST_TUNINGS, testValues } from '../device/testing.ts';
import { matmulNN, matmulNT, matmulTN } from './matmul.ts';
import { chooseStrategy, type Strategy } from './matmulStrategy.ts';
import { DIRECT, expectClose, F32, nans, norm, Q4, TILE, weightMatrix } from './matmulTesting.ts';
import type { VectorPlan } from './matmulVector.ts';
import { packMatrix } from './quantize.ts';
import { matmulNNReference, matmulNTReference, matmulTNReference } from './reference/matmul.ts';
import { formatName, type PackedMatrix, unpack, type WeightFormat } from './weightFormat.ts';

const Q8: WeightFormat = { kind: 'affine', bits: 8, group: 16, scales: 'f32' };
const FORMATS: WeightFormat[] = [
  F32,
  { kind: 'f16' },
  Q4,
  { kind: 'affine', bits: 4, group: 16, scales: 'f32' },
  { kind: 'affine', bits: 8, group: 32, scales: 'f16' },
  Q8,
];
/** What both kinds of devices choose for a shape: in WASM there is one way. */
const [SLOW = 'wasm', FAST = SLOW] = TEST_TUNINGS;
const VECTOR: VectorPlan = { kind: 'vector', threadRows: 1, threadCols: 2, lanes: 32, teams: 4 };

type Shape = readonly [m: number, n: number, k: number];
/** Odd ones, one of each, multiples of 4 and of 8 but not of 32, longer than a tile. */
const SHAPES: readonly Shape[] = [
  [1, 1, 1],
  [3, 7, 5],
  [17, 33, 65],
  [65, 40, 40],
  [70, 72, 128],
  [5, 136, 96],
];
/** Software adapters take seconds to compile a kernel with barriers: one ragged and one aligned shape for those. */
const TILE_SHAPES: readonly Shape[] = [
  [17, 33, 65],
  [70, 136, 96],
];

async function checkNT(
  [m, n, k]: readonly [number, number, number],
  format: WeightFormat,
  strategy: Strategy | undefined,
  tuning: Tuning = TEST_TUNING,
): Promise<void> {
  const x = testValues(m * k, 1);
  const w = weightMatrix(n, k, format);
  const out = await runOnDevice({ ...w.arrays, x, y: nans(m * n) }, (b) => [
    matmulNT({ x: b.x!, weight: w.operand(b), y: b.y! }, { m, n, k, strategy }, tuning),
  ]);
  const wanted = matmulNTReference(x, w.values, m, n, k);
  expectClose(
    out.y!,
    wanted,
    (i) => norm(x, i * k, 1, k),
    (j) => norm(w.values, j * k, 1, k),
    n,
    k,
  );
}

async function checkNN(
  [m, n, k]: readonly [number, number, number],
  format: WeightFormat,
  strategy: Strategy | undefined,
  tuning: Tuning = TEST_TUNING,
): Promise<void> {
  const dy = testValues(m * n, 3);
  const w = weightMatrix(n, k, format);
  const out = await runOnDevice({ ...w.arrays, dy, dx: nans(m * k) }, (b) => [
    matmulNN({ dy: b.dy!, weight: w.operand(b), dx: b.dx! }, { m, n, k, strategy }, tuning),
  ]);
  const wanted = matmulNNReference(dy, w.values, m, n, k);
  expectClose(
    out.dx!,
    wanted,
    (i) => norm(dy, i * n, 1, n),
    (j) => norm(w.values, j, k, n),
    k,
    n,
  );
}

async function checkTN(
  [m, n, k]: readonly [number, number, number],
  strategy: Strategy | undefined,
  tuning: Tuning = TEST_TUNING,
): Promise<void> {
  const dy = testValues(m * n, 3);
  const x = testValues(m * k, 4);
  const out = await runOnDevice({ dy, x, dw: nans(n * k) }, (b) => [
    matmulTN({ dy: b.dy, x: b.x, dw: b.dw }, { m, n, k, alpha: 0.5, strategy }, tuning),
  ]);
  const wanted = matmulTNReference(dy, x, m, n, k, { alpha: 0.5 });
  expectClose(
    out.dw,
    wanted,
    (i) => norm(dy, i, n, m),
    (j) => norm(x, j, k, m),
    k,
    m,
  );
}

describe('direct', () => {
  for (const format of FORMATS) {
    test(`NT and NN with ${formatName(format)}`, async () => {
      for (const shape of SHAPES) {
        await checkNT(shape, format, DIRECT);
        await checkNN(shape, format, DIRECT);
      }
    });
  }
  test('TN', async () => {
    for (const shape of [...SHAPES, [300, 8, 44] as const]) await checkTN(shape, DIRECT);
  });
  test('without shared loads', async () => {
    const alone = { ...DIRECT, threadCols: 4, share: false };
    const shape: Shape = [17, 36, 64];
    await checkNT(shape, F32, alone);
    await checkNN(shape, F32, alone);
    await checkTN(shape, alone);
  });
});

describe('tiled', () => {
  test.each([F32, Q4])('NT and NN with $kind', async (format) => {
    for (const shape of TILE_SHAPES) {
      await checkNT(shape, format, TILE);
      await checkNN(shape, format, TILE);
    }
  });
  test('TN', async () => {
    for (const shape of TILE_SHAPES) await checkTN(shape, TILE);
  });
  test('other blocks and slices', async () => {
    const aligned: Shape = [70, 136, 96];
    await checkNN(aligned, { kind: 'f16' }, { ...TILE, depth: 16, threadRows: 8 });
    await checkNT(aligned, Q8, { ...TILE, tileRows: 32, tileCols: 32, slices: 2 });
    await checkTN([600, 20, 44], { ...TILE, tileRows: 16, tileCols: 16, depth: 8, slices: 16 });
  });
});

describe('vector', () => {
  const shapes: readonly Shape[] = [
    [3, 33, 65],
    [2, 9, 1104],
    [8, 13, 96],
  ];
  test.each(FORMATS.map((format) => [formatName(format), format] as const))(
    'NT with %s',
    async (_, format) => {
      for (const shape of shapes) await checkNT(shape, format, VECTOR);
    },
  );
  test('a few rows at a time', async () => {
    const rows: Strategy = { ...VECTOR, threadRows: 4, threadCols: 2, lanes: 16, teams: 2 };
    for (const shape of shapes) await checkNT(shape, Q4, rows);
  });
});

describe('the strategy of an adapter and a shape', () => {
  test('on software adapters is right in every regime', async () => {
    await checkNT([1, 300, 64], F32, undefined, SLOW);
    await checkNT([1, 9, 40], Q4, undefined, SLOW);
    await checkNT([3, 64, 576], Q4, undefined, SLOW);
    await checkNT([7, 20, 8], Q4, undefined, SLOW);
    await checkNT([70, 90, 40], Q4, undefined, SLOW);
    await checkNN([1, 40, 264], F32, undefined, SLOW);
    await checkNN([70, 40, 264], Q4, undefined, SLOW);
    await checkTN([300, 16, 272], undefined, SLOW);
    await checkTN([1, 3, 5], undefined, SLOW);
  });

  test('on GPUs is right for a few rows', async () => {
    await checkNT([2, 9, 40], Q4, undefined, FAST);
    await checkNT([3, 20, 40], F32, undefined, FAST);
  });

  test('follows rows, tiles and the length of the reduction', () => {
    const kind = (product: 'nt' | 'nn' | 'tn', i: number, j: number, r: number, bits = 32) => {
      const plan = chooseStrategy('gpu', product, { i, j, r }, bits);
      return plan.kind === 'tiled' ? `${plan.tileRows}x${plan.slices}` : `${plan.kind} ${plan.threadRows}`;
    };
    expect(kind('nt', 1, 896, 896, 4)).toBe('vector 1');
    expect(kind('nt', 6, 896, 896, 4)).toBe('vector 8');
    expect(kind('nt', 9, 896, 896)).toBe('32x4');
    expect(kind('nt', 4096, 896, 896)).toBe('64x1');
    expect(kind('nn', 1, 896, 896)).toBe('32x4');
    expect(kind('tn', 16, 896, 4096)).toBe('16x16');
    expect(kind('tn', 896, 4864, 4096)).toBe('64x1');
  });
});

test('a weight of tiny scales is not flushed to zero', async () => {
  const [m, n, k] = [2, 3, 64];
  const packed: PackedMatrix = packMatrix(testValues(n * k, 2, 2e-4), n, k, Q4);
  const values = unpack(packed);
  const x = testValues(m * k, 1);
  const out = await runOnDevice({ x, weight: packed.data, scales: packed.scales!, y: nans(m * n) }, (b) => [
    matmulNT(
      { x: b.x, weight: { format: Q4, data: b.weight, scales: b.scales }, y: b.y },
      { m, n, k },
      TEST_TUNING,
    ),
  ]);
  const wanted = matmulNTReference(x, values, m, n, k);
  expectClose(
    out.y,
    wanted,
    (i) => norm(x, i * k, 1, k),
    (j) => norm(values, j * k, 1, k),
    n,
    k,
  );
});

test('one wrong weight is seen', async () => {
  const [m, n, k] = [17, 33, 65];
  const x = testValues(m * k, 1);
  const w = weightMatrix(n, k, F32);
  const broken = Float32Array.from(w.values);
  broken[7 * k + 64] = broken[7 * k + 64]! * 1.001;
  const out = await runOnDevice({ x, weight: broken, y: nans(m * n) }, (b) => [
    matmulNT({ x: b.x, weight: { format: F32, data: b.weight }, y: b.y }, { m, n, k }, TEST_TUNING),
  ]);
  const wanted = matmulNTReference(x, w.values, m, n, k);
  const rows = (i: number) => norm(x, i * k, 1, k);
  expect(() => expectClose(out.y, wanted, rows, (j) => norm(w.values, j * k, 1, k), n, k)).toThrow(/bound/);
});

test('an affine weight without scales is refused', () => {
  expect(() =>
    matmulNT({ x: 0, weight: { format: Q4, data: 1 }, y: 2 }, { m: 1, n: 1, k: 1 }, 'gpu'),
  ).toThrow(/scales/);
});
