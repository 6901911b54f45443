/** What the tests of the matrix products share. */
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { type TestArray, testValues } from '../device/testing.ts';
import { AlloyError, required } from '../util/errors.ts';
import type { MatrixOperand } from './matmul.ts';
import type { DirectPlan } from './matmulDirect.ts';
import type { TiledPlan } from './matmulTiled.ts';
import { packMatrix } from './quantize.ts';
import { unpack, type WeightFormat } from './weightFormat.ts';

export const F32: WeightFormat = { kind: 'f32' };
export const Q4: WeightFormat = { kind: 'affine', bits: 4, group: 32, scales: 'f16' };

/** A weight matrix, its arrays by buffer name, and the operand of those buffers. */
export function weightMatrix(rows: number, cols: number, format: WeightFormat, seed = 2) {
  const packed = packMatrix(testValues(rows * cols, seed), rows, cols, format);
  const arrays: Record<string, TestArray> = { weight: packed.data };
  if (packed.scales) arrays.scales = packed.scales;
  const operand = (buffers: Readonly<Record<string, DeviceBuffer>>): MatrixOperand<DeviceBuffer> => ({
    format,
    data: required(buffers.weight, 'weight'),
    scales: buffers.scales,
  });
  return { packed, arrays, operand, values: unpack(packed) };
}

export function nans(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(count).fill(Number.NaN);
}

/**
 * Every output within 4 sqrt(R) 2^-24 of the product of the norms of its row and its column, which bounds the
 * rounding of R sums; `terms` is added for what the epilogue adds.
 */
export function expectClose(
  got: Float32Array,
  wanted: Float64Array,
  left: (i: number) => number,
  right: (j: number) => number,
  cols: number,
  reduction: number,
  terms = 0,
): void {
  if (got.length !== wanted.length) {
    throw new AlloyError('internal', `${got.length} outputs for ${wanted.length}`);
  }
  const unit = 4 * Math.sqrt(reduction) * 2 ** -24;
  for (let at = 0; at < wanted.length; at++) {
    const bound = unit * (left(Math.floor(at / cols)) * right(at % cols) + terms) + 1e-30;
    const miss = Math.abs((got[at] ?? Number.NaN) - (wanted[at] ?? Number.NaN));
    if (!(miss <= bound)) {
      throw new AlloyError(
        'internal',
        `[${Math.floor(at / cols)}, ${at % cols}]: ${got[at]} for ${wanted[at]}, bound ${bound}`,
      );
    }
  }
}

export function norm(values: ArrayLike<number>, from: number, step: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (values[from + i * step] ?? Number.NaN) ** 2;
  return Math.sqrt(sum);
}

export const TILE: TiledPlan = {
  kind: 'tiled',
  tileRows: 64,
  tileCols: 64,
  depth: 32,
  threadRows: 4,
  threadCols: 4,
  slices: 1,
};
/** Smaller than what is chosen in earnest: software adapters take their time to compile. */
export const DIRECT: DirectPlan = { kind: 'direct', threadRows: 4, threadCols: 8, share: true };
