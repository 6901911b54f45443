/**
 * Flat f32 arrays: fill, copy, sums and the soft cap of logits.
 *
 * Layout: `count` elements from the start of each buffer, any count. Grid: 256 threads a group, 4 elements a thread
 * (neighbouring threads on neighbouring elements), groups wrapped into two dimensions. Cost: one pass of memory.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  LINEAR_GROUP,
  linearGrid,
  read,
  type WasmKernel,
  write,
} from '../device/kernel.ts';

const THREADS = 256;
const PER_THREAD = 4;

/** WGSL: `body` runs for every element `i` below `params.count`; also used by the optimizer's kernels. */
export function forEachElement(body: string): string {
  return `${LINEAR_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = linear_group(group) * ${THREADS * PER_THREAD}u + lane;
  for (var step = 0u; step < ${PER_THREAD}u; step++) {
    let i = first + step * ${THREADS}u;
    if (i < params.count) { ${body} }
  }
}`;
}

/** The grid of a kernel made with `forEachElement`. */
export function elementGrid(count: number): ReturnType<typeof linearGrid> {
  return linearGrid(Math.ceil(count / (THREADS * PER_THREAD)));
}

/** Elements in a piece of the work in WASM: `BLOCK` of `assembly/lib/elements.ts`. */
const WASM_BLOCK = 1024;

/** A kernel in WASM over `params.count` elements. */
export function elementsInWasm(name: string, constants: readonly number[] = []): WasmKernel {
  return { name, constants, pieces: ({ count = 0 }) => Math.ceil(count / WASM_BLOCK) };
}

/**
 * WGSL: `soft_cap(z, cap)` = cap·tanh(z / cap) and its derivative. Written with exp(-2|x|), which cannot overflow, and
 * as a series below 0.3, where the quotient would cancel.
 */
export const SOFT_CAP = `
fn soft_cap(z: f32, cap: f32) -> f32 {
  let x = z / cap;
  let s = clamp(x, -0.3, 0.3);
  let q = s * s;
  let series = s * (1.0 + q * (-0.333333333 + q * (0.133333333 + q * (-0.0539682540
    + q * (0.0218694885 + q * -0.00886323553)))));
  let e = exp(-2.0 * abs(x));
  return cap * select(sign(x) * (1.0 - e) / (1.0 + e), series, abs(x) < 0.3);
}
fn soft_cap_slope(z: f32, cap: f32) -> f32 {
  let e = exp(-2.0 * abs(z / cap));
  return 4.0 * e / ((1.0 + e) * (1.0 + e));
}
`;

const fillKernel = defineKernel({
  name: 'elementwise.fill',
  buffers: { y: write('f32') },
  params: { count: 'u32', value: 'f32' },
  code: forEachElement('y[i] = params.value;'),
  wasm: elementsInWasm('elementwiseFill'),
});

const copyKernel = defineKernel({
  name: 'elementwise.copy',
  buffers: { x: read('f32'), y: write('f32') },
  params: { count: 'u32' },
  code: forEachElement('y[i] = x[i];'),
  wasm: elementsInWasm('elementwiseCopy'),
});

const axpyKernel = defineKernel({
  name: 'elementwise.axpy',
  buffers: { x: read('f32'), y: write('f32') },
  params: { count: 'u32', a: 'f32' },
  code: forEachElement('y[i] += params.a * x[i];'),
  wasm: elementsInWasm('elementwiseAxpy'),
});

const addKernel = defineKernel({
  name: 'elementwise.add',
  buffers: { a: read('f32'), b: read('f32'), y: write('f32') },
  params: { count: 'u32' },
  code: forEachElement('y[i] = a[i] + b[i];'),
  wasm: elementsInWasm('elementwiseAdd'),
});

const scaleKernel = defineKernel({
  name: 'elementwise.scale',
  buffers: { y: write('f32') },
  params: { count: 'u32', a: 'f32' },
  code: forEachElement('y[i] *= params.a;'),
  wasm: elementsInWasm('elementwiseScale'),
});

const softCapKernel = defineKernel({
  name: 'elementwise.softCap',
  buffers: { y: write('f32') },
  params: { count: 'u32', cap: 'f32' },
  code: SOFT_CAP + forEachElement('y[i] = soft_cap(y[i], params.cap);'),
  wasm: elementsInWasm('elementwiseSoftCap'),
});

/** y[i] = value. */
export function fill<B>(buffers: { y: B }, count: number, value: number): Dispatch<B> {
  return dispatch(fillKernel, buffers, { count, value }, elementGrid(count));
}

/** y[i] = x[i], bit for bit except for how the device treats NaN and subnormal values. */
export function copy<B>(buffers: { x: B; y: B }, count: number): Dispatch<B> {
  return dispatch(copyKernel, buffers, { count }, elementGrid(count));
}

/** y[i] += a·x[i]. */
export function axpy<B>(buffers: { x: B; y: B }, count: number, a: number): Dispatch<B> {
  return dispatch(axpyKernel, buffers, { count, a }, elementGrid(count));
}

/** y[i] = a[i] + b[i]. */
export function add<B>(buffers: { a: B; b: B; y: B }, count: number): Dispatch<B> {
  return dispatch(addKernel, buffers, { count }, elementGrid(count));
}

/** y[i] *= a. */
export function scale<B>(buffers: { y: B }, count: number, a: number): Dispatch<B> {
  return dispatch(scaleKernel, buffers, { count, a }, elementGrid(count));
}

/** y[i] = cap·tanh(y[i] / cap) in place: the soft cap that Gemma 2 puts on its logits. */
export function softCap<B>(buffers: { y: B }, count: number, cap: number): Dispatch<B> {
  return dispatch(softCapKernel, buffers, { count, cap }, elementGrid(count));
}
