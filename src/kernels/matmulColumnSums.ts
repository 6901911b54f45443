import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';

/** A workgroup adds 16 columns, each with 16 threads that take every 16th row. */
const COLUMNS = 16;
const SLICES = 16;

const kernel = defineKernel({
  name: 'matmul.columnSums',
  buffers: { dy: read('f32'), db: write('f32') },
  params: { m: 'u32', n: 'u32', stride: 'u32', offset: 'u32', accumulate: 'u32' },
  code: `
var<workgroup> partial: array<f32, ${COLUMNS * SLICES}>;

@compute @workgroup_size(${COLUMNS}, ${SLICES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = group.x * ${COLUMNS}u + local.x;
  let source = params.offset + min(column, params.n - 1u);
  var sum = 0.0;
  for (var row = local.y; row < params.m; row += ${SLICES}u) { sum += dy[row * params.stride + source]; }
  partial[local.y * ${COLUMNS}u + local.x] = sum;
  workgroupBarrier();
  if (local.y != 0u || column >= params.n) { return; }
  for (var slice = 1u; slice < ${SLICES}u; slice++) { sum += partial[slice * ${COLUMNS}u + local.x]; }
  if (params.accumulate != 0u) { sum += db[column]; }
  db[column] = sum;
}`,
  wasm: { name: 'columnSums', pieces: (_, [blocks]) => blocks },
});

/** Gradient of a bias: db[n] (+)= sum_m dY[m, offset + n], with rows of `stride` elements (N where absent). */
export function columnSums<B>(
  buffers: { readonly dy: B; readonly db: B },
  shape: {
    readonly m: number;
    readonly n: number;
    readonly dy?: { readonly stride: number; readonly offset: number } | undefined;
    readonly accumulate?: boolean | undefined;
  },
): Dispatch<B> {
  const { m, n } = shape;
  const { stride, offset } = shape.dy ?? { stride: n, offset: 0 };
  const params = { m, n, stride, offset, accumulate: shape.accumulate ? 1 : 0 };
  return dispatch(kernel, { dy: buffers.dy, db: buffers.db }, params, [Math.ceil(n / COLUMNS), 1, 1]);
}
