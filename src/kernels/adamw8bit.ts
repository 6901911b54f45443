/**
 * AdamW (see adamw.ts) with both moments in 8 bits: 10.03 instead of 16 bytes a parameter. Blocks of 256 elements share a
 * scale each, the largest magnitude in the block, and elements are codes of a dynamic map: as many digits near the scale
 * as near a millionth of it (Dettmers, Lewis, Shleifer and Zettlemoyer, "8-bit optimizers via block-wise quantization",
 * 2110.02861). Three things differ from there, all for the second moment:
 *
 * - its square root is kept, which has half the range in powers of ten and is what the update divides by;
 * - it has no code for 0 (except in blocks of zeros): a gradient that was small once must not be divided by ε alone;
 * - it is rounded up or down at random, so that the mean of v (not of its root) is right: one step changes v by a
 *   thousandth, less than a code, and would be lost every time. The random numbers are a hash of element and step, so runs
 *   are still reproducible.
 *
 * The update itself uses the moments before they are rounded.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../device/kernel.ts';
import { type AdamwSettings, adamwHyper } from './adamw.ts';

/** Elements that share a scale. */
export const MOMENT_BLOCK = 256;
/** Threads of a group, four elements (one word of codes) each. */
const THREADS = MOMENT_BLOCK / 4;
/** Scales below this count as 0: quotients of numbers so small are not to be relied on. */
const SMALLEST = 1e-30;

/** Bytes of one moment's codes and of both moments' scales, for so many elements. */
export function momentBytes(count: number): { readonly moment: number; readonly scales: number } {
  return { moment: 4 * Math.ceil(count / 4), scales: 8 * Math.ceil(count / MOMENT_BLOCK) };
}

/**
 * Magnitudes of a dynamic map: the decade 10^-e … 10^(1-e) is cut into 2^(bits − 1 − e) equal parts, of which the middles
 * are kept, for e = 1 … bits; and 1 itself.
 */
function magnitudes(bits: number, least: number): number[] {
  const values: number[] = [];
  for (let exponent = bits - least; exponent >= 0; exponent--) {
    const parts = 2 ** (bits - 1 - exponent);
    for (let part = 0; part < parts; part++) {
      values.push((0.1 + (0.9 * (part + 0.5)) / parts) * 10 ** -exponent);
    }
  }
  return [...values, 1];
}

/** What the codes 0 … 255 of each moment stand for, in rising order. */
export interface MomentCodes {
  /** With both signs and 0. */
  readonly first: Float32Array<ArrayBuffer>;
  /** All above 0. */
  readonly second: Float32Array<ArrayBuffer>;
}

export function momentCodes(): MomentCodes {
  const signed = magnitudes(7, 1);
  const positive = magnitudes(8, 2);
  return {
    first: Float32Array.from([
      ...signed
        .slice(0, -1)
        .map((x) => -x)
        .reverse(),
      0,
      ...signed,
    ]),
    second: Float32Array.from([1e-7, ...positive]),
  };
}

/** The `codes` buffer: both maps, one after the other. */
export function momentCodeTable(): Float32Array<ArrayBuffer> {
  const { first, second } = momentCodes();
  return Float32Array.of(...first, ...second);
}

/** The contents of the `hyper` buffer for one step: f32 [9], that of `adamwHyper` and the step. */
export function adamw8bitHyper(settings: AdamwSettings): Float32Array<ArrayBuffer> {
  return Float32Array.of(...adamwHyper(settings), settings.step);
}

/** A hash of element and step as a number in 0 … 1, on the GPU and here. */
const RANDOM = `
fn random_share(element: u32, step: u32) -> f32 {
  var x = element * 747796405u + step * 2891336453u + 1u;
  x = ((x >> ((x >> 28u) + 4u)) ^ x) * 277803737u;
  x = (x >> 22u) ^ x;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  return f32(x >> 8u) / 16777216.0;
}`;

const adamw8bitKernel = defineKernel({
  name: 'adamw8bit',
  buffers: {
    w: write('f32'),
    g: read('f32'),
    m: write('u32'),
    v: write('u32'),
    scales: write('f32'),
    codes: read('f32'),
    hyper: read('f32'),
    gradScale: read('f32'),
  },
  params: { count: 'u32' },
  code: `${LINEAR_GROUP}${RANDOM}
var<workgroup> largest: array<vec2<f32>, ${THREADS}>;
// The last code of a map (256 of them from 'at') that does not stand for more than x.
fn code_below(at: u32, x: f32) -> u32 {
  var code = 0u;
  for (var step = 128u; step > 0u; step >>= 1u) {
    if (codes[at + code + step] <= x) { code += step; }
  }
  return code;
}
fn first_code(x: f32) -> u32 {
  let below = code_below(0u, x);
  let above = min(below + 1u, 255u);
  return select(below, above, codes[above] - x < x - codes[below]);
}
fn second_code(x: f32, share: f32) -> u32 {
  let below = code_below(256u, x);
  let low = codes[256u + below];
  let high = codes[256u + min(below + 1u, 255u)];
  let up = x >= low && share * (high * high - low * low) < x * x - low * low;
  return select(below, min(below + 1u, 255u), up);
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = linear_group(group);
  let word = block * ${THREADS}u + lane;
  let scale = gradScale[0];
  let used = word * 4u < params.count && scale != 0.0;
  var m1: array<f32, 4>;
  var root: array<f32, 4>;
  var most = vec2<f32>(0.0);
  if (used) {
    let old = vec2<f32>(scales[2u * block], scales[2u * block + 1u]);
    let packed = vec2<u32>(m[word], v[word]);
    for (var k = 0u; k < 4u; k++) {
      let i = word * 4u + k;
      if (i >= params.count) { break; }
      let gradient = scale * g[i];
      let m0 = codes[(packed.x >> (8u * k)) & 255u] * old.x;
      let r0 = codes[256u + ((packed.y >> (8u * k)) & 255u)] * old.y;
      let first = hyper[1] * m0 + (1.0 - hyper[1]) * gradient;
      let second = hyper[2] * r0 * r0 + hyper[7] * gradient * gradient;
      let direction = (first / hyper[5]) / (sqrt(second / hyper[6]) + hyper[3]);
      w[i] = w[i] * (1.0 - hyper[0] * hyper[4]) - hyper[0] * direction;
      m1[k] = first;
      root[k] = sqrt(second);
      most = max(most, vec2<f32>(abs(first), root[k]));
    }
  }
  largest[lane] = most;
  workgroupBarrier();
  for (var width = ${THREADS / 2}u; width > 0u; width >>= 1u) {
    if (lane < width) { largest[lane] = max(largest[lane], largest[lane + width]); }
    workgroupBarrier();
  }
  if (!used) { return; }
  most = largest[0];
  var packed = vec2<u32>(0u);
  for (var k = 0u; k < 4u; k++) {
    var code = vec2<u32>(127u, 0u);
    if (most.x > ${SMALLEST}) { code.x = first_code(m1[k] / most.x); }
    if (most.y > ${SMALLEST}) {
      code.y = second_code(root[k] / most.y, random_share(word * 4u + k, u32(hyper[8])));
    }
    packed |= code << vec2<u32>(8u * k);
  }
  m[word] = packed.x;
  v[word] = packed.y;
  if (lane == 0u) {
    scales[2u * block] = select(0.0, most.x, most.x > ${SMALLEST});
    scales[2u * block + 1u] = select(0.0, most.y, most.y > ${SMALLEST});
  }
}`,
  wasm: { name: 'adamw8bit', pieces: ({ count }) => Math.ceil(count / MOMENT_BLOCK) },
});

/**
 * One step in place.
 * @param buffers w, g f32 [count]; m, v, scales of `momentBytes`, all zero before the first step; `codes` of
 * `momentCodeTable`; `hyper` of `adamw8bitHyper`; `gradScale` of `clipScale`
 */
export function adamw8bit<B>(
  buffers: { w: B; g: B; m: B; v: B; scales: B; codes: B; hyper: B; gradScale: B },
  count: number,
): Dispatch<B> {
  return dispatch(adamw8bitKernel, buffers, { count }, linearGrid(Math.ceil(count / MOMENT_BLOCK)));
}
