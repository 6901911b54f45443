import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { type ColumnsShape, putColumns, takeColumns } from './columns.ts';
import { poisoned } from './reference/compare.ts';

/** The fused place of every packed element, in order. */
function places({ rows, stride, offset, groups, groupStride, width }: ColumnsShape): number[] {
  const all: number[] = [];
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++)
      for (let j = 0; j < width; j++) all.push(row * stride + offset + group * groupStride + j);
  return all;
}

const shapes: [string, ColumnsShape][] = [
  ['one element', { rows: 1, stride: 3, offset: 1, groups: 1, groupStride: 1, width: 1 }],
  ['keys of [q | k | v]', { rows: 5, stride: 22, offset: 14, groups: 1, groupStride: 4, width: 4 }],
  ['values head by head', { rows: 33, stride: 3 * 4 * 7, offset: 14, groups: 4, groupStride: 21, width: 7 }],
  ['a whole row', { rows: 3, stride: 65, offset: 0, groups: 1, groupStride: 65, width: 65 }],
  [
    'more than one group of workgroups',
    { rows: 301, stride: 513, offset: 2, groups: 2, groupStride: 256, width: 255 },
  ],
];

test.each(shapes)('%s', async (_, shape) => {
  const at = places(shape);
  const fused = testValues(shape.rows * shape.stride, 1);
  const packed = testValues(at.length, 2);
  const out = await runOnDevice(
    { fused, packed, taken: poisoned(at.length), into: fused, sum: fused },
    (b) => [
      takeColumns({ fused: b.fused, packed: b.taken }, shape),
      putColumns({ packed: b.packed, fused: b.into }, shape, false),
      putColumns({ packed: b.packed, fused: b.sum }, shape, true),
    ],
  );
  const [into, sum] = [Float32Array.from(fused), Float32Array.from(fused)];
  at.forEach((place, i) => {
    into[place] = packed[i]!;
    sum[place] = fused[place]! + packed[i]!;
  });
  const same = (got: Float32Array, want: Float32Array) =>
    expect(got.findIndex((value, i) => !Object.is(value, want[i]))).toBe(-1);
  same(
    out.taken,
    Float32Array.from(at, (place) => fused[place]!),
  );
  same(out.into, into);
  same(out.sum, sum);
});
