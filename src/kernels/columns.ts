/**
 * Columns out of fused rows and back. A row of `stride` elements holds `groups` runs of `width` elements, `groupStride`
 * apart from the column `offset` on; packed they are [rows, groups * width]. So q of a row [q | k | v] is one run, and q
 * of GPT-NeoX's rows, [q | k | v] head by head, is one run a head. One thread an element of the packed side.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { elementGrid, forEachElement } from './elementwise.ts';

export interface ColumnsShape {
  readonly rows: number;
  /** Elements from one fused row to the next. */
  readonly stride: number;
  readonly offset: number;
  readonly groups: number;
  readonly groupStride: number;
  /** Elements of a run. */
  readonly width: number;
}

const PARAMS = {
  count: 'u32',
  stride: 'u32',
  offset: 'u32',
  groups: 'u32',
  groupStride: 'u32',
  width: 'u32',
} as const;

/** WGSL: the fused place `at` of the packed element `i`. */
const PLACE = `
  let run = i / params.width;
  let at = (run / params.groups) * params.stride + params.offset + (run % params.groups) * params.groupStride
    + i % params.width;`;

function runs({ count, width }: Record<keyof typeof PARAMS, number>): number {
  return count / width;
}

const takeKernel = defineKernel({
  name: 'columns.take',
  buffers: { fused: read('f32'), packed: write('f32') },
  params: PARAMS,
  code: forEachElement(`${PLACE}
  packed[i] = fused[at];`),
  wasm: { name: 'columnsTake', pieces: runs },
});

function putKernel(accumulate: boolean) {
  return defineKernel({
    name: `columns.put${accumulate ? '.add' : ''}`,
    buffers: { packed: read('f32'), fused: write('f32') },
    params: PARAMS,
    code: forEachElement(`${PLACE}
  fused[at] ${accumulate ? '+=' : '='} packed[i];`),
    wasm: { name: 'columnsPut', constants: [accumulate ? 1 : 0], pieces: runs },
  });
}

function paramsOf({ rows, ...shape }: ColumnsShape) {
  return { count: rows * shape.groups * shape.width, ...shape };
}

/** packed [rows, groups * width] from fused [rows, stride]. */
export function takeColumns<B>({ fused, packed }: { fused: B; packed: B }, shape: ColumnsShape): Dispatch<B> {
  const params = paramsOf(shape);
  return dispatch(takeKernel, { fused, packed }, params, elementGrid(params.count));
}

/** fused (= or += in these columns, untouched elsewhere) from packed. */
export function putColumns<B>(
  { packed, fused }: { packed: B; fused: B },
  shape: ColumnsShape,
  accumulate: boolean,
): Dispatch<B> {
  const params = paramsOf(shape);
  return dispatch(putKernel(accumulate), { packed, fused }, params, elementGrid(params.count));
}
