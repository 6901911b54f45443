import { describe, expect, test } from 'vitest';
import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import { runOnGpu, type TestArray, testValues } from '../gpu/testing.ts';
import { type MatrixOperand, matmulNN, matmulNT, matmulTN } from './matmul.ts';
import { columnSums } from './matmulColumnSums.ts';
import type { Strategy } from './matmulStrategy.ts';
import { packMatrix } from './quantize.ts';
import {
  columnSumsReference,
  matmulNNReference,
  matmulNTReference,
  matmulTNReference,
} from './reference/matmul.ts';
import { formatName, type PackedMatrix, unpack, type WeightFormat } from './weightFormat.ts';

const F32: WeightFormat = { kind: 'f32' };
const Q4: WeightFormat = { kind: 'affine', bits: 4, group: 32, scales: 'f16' };
const FORMATS: WeightFormat[] = [
  F32,
  { kind: 'f16' },
  Q4,
  { kind: 'affine', bits: 4, group: 16, scales: 'f32' },
  { kind: 'affine', bits: 8, group: 32, scales: 'f16' },
  { kind: 'affine', bits: 8, group: 16, scales: 'f32' },
];

const TILE_64: Strategy = {
  kind: 'tiled',
  tileRows: 64,
  tileCols: 64,
  depth: 32,
  threadRows: 4,
  threadCols: 4,
  slices: 1,
};
const TILE_32: Strategy = { ...TILE_64, tileRows: 32, tileCols: 32, slices: 2 };
const DIRECT: Strategy = { kind: 'direct', threadRows: 8, threadCols: 8, share: true };
const DIRECT_ALONE: Strategy = { kind: 'direct', threadRows: 4, threadCols: 8, share: false };

/** All formats where compiling is cheap on software adapters; the reading code is the same in all strategies. */
const CASES: readonly (readonly [Strategy, readonly WeightFormat[]])[] = [
  [DIRECT, FORMATS],
  [DIRECT_ALONE, [F32, Q4]],
  [TILE_64, [F32, { kind: 'f16' }, Q4]],
  [TILE_32, [{ kind: 'affine', bits: 8, group: 16, scales: 'f32' }]],
  [{ ...TILE_64, tileRows: 128, threadRows: 8 }, [Q4]],
];
const VECTORS: Strategy[] = [
  { kind: 'vector', threadRows: 1, threadCols: 4, lanes: 32, teams: 4 },
  { kind: 'vector', threadRows: 4, threadCols: 2, lanes: 16, teams: 2 },
];

/** [m, n, k]: odd ones, multiples of 4, 8 and 32, one of each, longer than a tile. */
const SHAPES = [
  [1, 1, 1],
  [3, 7, 5],
  [17, 33, 65],
  [65, 40, 40],
  [70, 72, 128],
  [5, 136, 96],
] as const;

function name(strategy: Strategy): string {
  return Object.values(strategy).join('-');
}

/** A weight matrix, its arrays by buffer name, and the operand of those buffers. */
function weightMatrix(rows: number, cols: number, format: WeightFormat, seed = 2) {
  const packed = packMatrix(testValues(rows * cols, seed), rows, cols, format);
  const arrays: Record<string, TestArray> = { weight: packed.data };
  if (packed.scales) arrays.scales = packed.scales;
  const operand = (buffers: Readonly<Record<string, DeviceBuffer>>): MatrixOperand<DeviceBuffer> => ({
    format,
    data: buffers.weight!,
    scales: buffers.scales,
  });
  return { packed, arrays, operand, values: unpack(packed) };
}

function nans(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(count).fill(Number.NaN);
}

/**
 * Every output within 4 sqrt(R) 2^-24 of the product of the norms of its row and its column, which bounds the
 * rounding of R sums; `terms` is added for what the epilogue adds.
 */
function expectClose(
  got: Float32Array,
  wanted: Float64Array,
  left: (i: number) => number,
  right: (j: number) => number,
  cols: number,
  reduction: number,
  terms = 0,
): void {
  expect(got.length).toBe(wanted.length);
  const unit = 4 * Math.sqrt(reduction) * 2 ** -24;
  for (let at = 0; at < wanted.length; at++) {
    const bound = unit * (left(Math.floor(at / cols)) * right(at % cols) + terms) + 1e-30;
    const miss = Math.abs(got[at]! - wanted[at]!);
    if (!(miss <= bound)) {
      throw new Error(
        `[${Math.floor(at / cols)}, ${at % cols}]: ${got[at]} for ${wanted[at]}, bound ${bound}`,
      );
    }
  }
}

function norm(values: ArrayLike<number>, from: number, step: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[from + i * step]! ** 2;
  return Math.sqrt(sum);
}

async function checkNT(
  [m, n, k]: readonly [number, number, number],
  format: WeightFormat,
  strategy: Strategy | undefined,
  tuning: 'software' | 'gpu' = 'gpu',
): Promise<void> {
  const x = testValues(m * k, 1);
  const w = weightMatrix(n, k, format);
  const out = await runOnGpu({ ...w.arrays, x, y: nans(m * n) }, (b) => [
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
  tuning: 'software' | 'gpu' = 'gpu',
): Promise<void> {
  const dy = testValues(m * n, 3);
  const w = weightMatrix(n, k, format);
  const out = await runOnGpu({ ...w.arrays, dy, dx: nans(m * k) }, (b) => [
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
  tuning: 'software' | 'gpu' = 'gpu',
): Promise<void> {
  const dy = testValues(m * n, 3);
  const x = testValues(m * k, 4);
  const out = await runOnGpu({ dy, x, dw: nans(n * k) }, (b) => [
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

describe.each(CASES.map(([strategy, formats]) => [name(strategy), strategy, formats] as const))(
  '%s',
  (_, strategy, formats) => {
    for (const format of formats) {
      test(`NT and NN with ${formatName(format)}`, async () => {
        for (const shape of SHAPES) {
          await checkNT(shape, format, strategy);
          await checkNN(shape, format, strategy);
        }
      });
    }
    test('TN', async () => {
      for (const shape of [...SHAPES, [300, 8, 44] as const]) await checkTN(shape, strategy);
    });
  },
);

describe.each(VECTORS.map((strategy) => [name(strategy), strategy] as const))('%s', (_, strategy) => {
  for (const format of FORMATS) {
    test(`NT with ${formatName(format)}`, async () => {
      for (const shape of [...SHAPES, [1, 9, 1100] as const, [8, 16, 2048] as const]) {
        await checkNT(shape, format, strategy);
      }
    });
  }
});

test.each(['software', 'gpu'] as const)(
  'the chosen strategies for %s are right in every regime',
  async (tuning) => {
    for (const format of [F32, Q4]) {
      for (const shape of [
        [1, 300, 64],
        [2, 9, 40],
        [3, 64, 576],
        [7, 20, 8],
        [8, 17, 33],
      ] as const) {
        await checkNT(shape, format, undefined, tuning);
      }
      await checkNT([260, 270, 40], format, undefined, tuning);
      await checkNN([260, 40, 264], format, undefined, tuning);
      await checkNN([1, 40, 264], format, undefined, tuning);
      await checkNT([520, 1100, 8], format, undefined, tuning);
    }
    await checkTN([40, 260, 270], undefined, tuning);
    await checkTN([1000, 8, 64], undefined, tuning);
    await checkTN([1000, 16, 300], undefined, tuning);
  },
);

describe('epilogue', () => {
  const [m, n, k] = [9, 12, 20];
  const x = testValues(m * k, 1);
  const w = weightMatrix(n, k, Q4);
  const columnScale = testValues(5, 6);
  /** columnScale[1 + floor(n / 4)] */
  const spread = Float32Array.from({ length: n }, (_, at) => columnScale[1 + Math.floor(at / 4)]!);
  const scale = { scaleOffset: 1, scaleGroup: 4 };
  const both: Strategy[] = [TILE_64, DIRECT];

  test.each([...both, VECTORS[1]!].map((strategy) => [strategy.kind, strategy] as const))(
    'NT adds scale, bias, residual and what was there: %s',
    async (_, strategy) => {
      const bias = testValues(n, 7);
      const residual = testValues(m * n, 8);
      const before = testValues(m * n, 9);
      const out = await runOnGpu(
        { ...w.arrays, x, bias, residual, columnScale, y: before, z: before },
        (b) => [
          matmulNT(
            {
              x: b.x!,
              weight: w.operand(b),
              y: b.y!,
              bias: b.bias,
              residual: b.residual,
              columnScale: b.columnScale,
            },
            { m, n, k, ...scale, accumulate: true, strategy },
            'gpu',
          ),
          matmulNT(
            { x: b.x!, weight: w.operand(b), y: b.z!, bias: b.bias },
            { m, n, k, alpha: -2, strategy },
            'gpu',
          ),
        ],
      );
      const wanted = matmulNTReference(x, w.values, m, n, k, { bias, residual, columnScale: spread });
      for (let at = 0; at < wanted.length; at++) wanted[at] = wanted[at]! + before[at]!;
      const rows = (i: number) => norm(x, i * k, 1, k);
      const cols = (j: number) => norm(w.values, j * k, 1, k);
      expectClose(out.y!, wanted, rows, cols, n, k, 3);
      const scaled = matmulNTReference(x, w.values, m, n, k, {
        bias,
        columnScale: new Float32Array(n).fill(-2),
      });
      expectClose(out.z!, scaled, (i) => 2 * rows(i), cols, n, k, 1);
    },
  );

  test.each(both.map((strategy) => [strategy.kind, strategy] as const))(
    'NN and TN apply the scale to the columns of dY and accumulate: %s',
    async (_, strategy) => {
      const dy = testValues(m * n, 3);
      const dxBefore = testValues(m * k, 4);
      const dwBefore = testValues(n * k, 5);
      const shape = { m, n, k, ...scale, accumulate: true, strategy };
      const out = await runOnGpu({ ...w.arrays, x, dy, columnScale, dx: dxBefore, dw: dwBefore }, (b) => [
        matmulNN({ dy: b.dy!, weight: w.operand(b), dx: b.dx!, columnScale: b.columnScale }, shape, 'gpu'),
        matmulTN(
          { dy: b.dy!, x: b.x!, dw: b.dw!, columnScale: b.columnScale },
          { ...shape, alpha: 3 },
          'gpu',
        ),
      ]);
      const dx = matmulNNReference(dy, w.values, m, n, k, { columnScale: spread });
      const dw = matmulTNReference(dy, x, m, n, k, { columnScale: spread, alpha: 3 });
      for (let at = 0; at < dx.length; at++) dx[at] = dx[at]! + dxBefore[at]!;
      for (let at = 0; at < dw.length; at++) dw[at] = dw[at]! + dwBefore[at]!;
      expectClose(
        out.dx!,
        dx,
        (i) => norm(dy, i * n, 1, n),
        (j) => norm(w.values, j, k, n),
        k,
        n,
        1,
      );
      expectClose(
        out.dw!,
        dw,
        (i) => 3 * norm(dy, i, n, m),
        (j) => norm(x, j, k, m),
        k,
        m,
        1,
      );
    },
  );

  /** Two heads write into columns of one logits buffer and read them back. */
  test.each(
    both.flatMap(
      (strategy) =>
        [
          [strategy, 24, 12],
          [strategy, 19, 5],
        ] as const,
    ),
  )('reads and writes columns of wider rows: %o stride %i offset %i', async (strategy, stride, offset) => {
    const wide = testValues(m * stride, 10);
    const columns = { stride, offset };
    const cut = Float32Array.from(
      { length: m * n },
      (_, at) => wide[Math.floor(at / n) * stride + offset + (at % n)]!,
    );
    const xWide = new Float32Array(m * (k + 4)).fill(Number.NaN);
    for (let at = 0; at < m * k; at++) xWide[Math.floor(at / k) * (k + 4) + 4 + (at % k)] = x[at]!;
    const xColumns = { stride: k + 4, offset: 4 };
    const out = await runOnGpu(
      { ...w.arrays, x: xWide, wide, y: wide, dx: nans(m * (k + 4)), dw: nans(n * k) },
      (b) => [
        matmulNT(
          { x: b.x!, weight: w.operand(b), y: b.y!, residual: b.wide },
          { m, n, k, x: xColumns, y: columns, residual: columns, strategy },
          'gpu',
        ),
        matmulNN(
          { dy: b.wide!, weight: w.operand(b), dx: b.dx! },
          { m, n, k, dy: columns, dx: xColumns, strategy },
          'gpu',
        ),
        matmulTN({ dy: b.wide!, x: b.x!, dw: b.dw! }, { m, n, k, dy: columns, x: xColumns, strategy }, 'gpu'),
      ],
    );
    const rows = (i: number) => norm(x, i * k, 1, k);
    const y = Float32Array.from(
      { length: m * n },
      (_, at) => out.y![Math.floor(at / n) * stride + offset + (at % n)]!,
    );
    expectClose(
      y,
      matmulNTReference(x, w.values, m, n, k, { residual: cut }),
      rows,
      (j) => norm(w.values, j * k, 1, k),
      n,
      k,
      1,
    );
    for (let at = 0; at < wide.length; at++) {
      const column = at % stride;
      if (column < offset || column >= offset + n) expect(out.y![at]).toBe(wide[at]);
    }
    const dx = Float32Array.from(
      { length: m * k },
      (_, at) => out.dx![Math.floor(at / k) * (k + 4) + 4 + (at % k)]!,
    );
    expectClose(
      dx,
      matmulNNReference(cut, w.values, m, n, k),
      (i) => norm(cut, i * n, 1, n),
      (j) => norm(w.values, j, k, n),
      k,
      n,
    );
    for (let row = 0; row < m; row++)
      expect(out.dx!.subarray(row * (k + 4), row * (k + 4) + 4)).toEqual(nans(4));
    expectClose(
      out.dw!,
      matmulTNReference(cut, x, m, n, k),
      (i) => norm(cut, i, n, m),
      (j) => norm(x, j, k, m),
      k,
      m,
    );
  });
});

test('a weight of tiny scales is not flushed to zero', async () => {
  const [m, n, k] = [2, 3, 64];
  const packed: PackedMatrix = packMatrix(testValues(n * k, 2, 2e-4), n, k, Q4);
  const values = unpack(packed);
  const x = testValues(m * k, 1);
  const out = await runOnGpu({ x, weight: packed.data, scales: packed.scales!, y: nans(m * n) }, (b) => [
    matmulNT(
      { x: b.x, weight: { format: Q4, data: b.weight, scales: b.scales }, y: b.y },
      { m, n, k },
      'software',
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
  const out = await runOnGpu({ x, weight: broken, y: nans(m * n) }, (b) => [
    matmulNT({ x: b.x, weight: { format: F32, data: b.weight }, y: b.y }, { m, n, k }, 'software'),
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

test('columnSums adds rows, replaces or accumulates, and reads columns of wider rows', async () => {
  for (const [m, n] of [
    [1, 1],
    [3, 17],
    [33, 16],
    [1000, 65],
  ] as const) {
    const dy = testValues(m * n, 1);
    const wide = testValues(m * (n + 7), 2);
    const before = testValues(n, 3);
    const out = await runOnGpu({ dy, wide, db: nans(n), sum: before }, (b) => [
      columnSums({ dy: b.dy, db: b.db }, { m, n }),
      columnSums({ dy: b.wide, db: b.sum }, { m, n, dy: { stride: n + 7, offset: 5 }, accumulate: true }),
    ]);
    const cut = Float32Array.from(
      { length: m * n },
      (_, at) => wide[Math.floor(at / n) * (n + 7) + 5 + (at % n)]!,
    );
    const sums = columnSumsReference(cut, m, n).map((sum, at) => sum + before[at]!);
    expectClose(
      out.db,
      columnSumsReference(dy, m, n),
      () => 1,
      (j) => norm(dy, j, n, m),
      n,
      m,
    );
    expectClose(
      out.sum,
      sums,
      () => 1,
      (j) => norm(cut, j, n, m),
      n,
      m,
      1,
    );
  }
});
