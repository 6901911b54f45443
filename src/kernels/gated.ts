/**
 * The gated activation of a feed-forward block: h = act(g) * u, with act one of
 *   silu:      z * sigmoid(z)                                        (Elfwing et al. 2018)
 *   gelu_tanh: z/2 * (1 + tanh(sqrt(2/pi) * (z + 0.044715 z^3)))     (Hendrycks & Gimpel 2016, the tanh form)
 * Both are z * sigmoid(k(z)), since (1 + tanh t) / 2 = sigmoid(2t): written so, the left tail loses no digits to
 * 1 + tanh. The exponent is clamped, so that every finite input gives a finite output and derivative.
 * One thread an element; g and u are saved for the backward pass.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../gpu/kernel.ts';

export type Activation = 'silu' | 'gelu_tanh';

const THREADS = 256;

/** 2 * sqrt(2 / pi), and its product with 0.044715. */
const GELU_LINEAR = 1.5957691216057308;
const GELU_CUBIC = 0.07135481282804397;

/** WGSL: the logit k(z) of the gate and its derivative. */
function gateWgsl(activation: Activation): string {
  const logit = activation === 'silu' ? 'z' : `z * (${GELU_LINEAR} + ${GELU_CUBIC} * z * z)`;
  const slope = activation === 'silu' ? '1.0' : `${GELU_LINEAR} + ${3 * GELU_CUBIC} * z * z`;
  return `${LINEAR_GROUP}
fn sigmoid(k: f32) -> f32 { return 1.0 / (1.0 + exp(min(-k, 80.0))); }
fn gate(value: f32) -> f32 {
  let z = clamp(value, -1e4, 1e4);
  return sigmoid(${logit});
}
fn gate_slope(value: f32, s: f32) -> f32 {
  let z = clamp(value, -1e4, 1e4);
  return s * (1.0 - s) * (${slope});
}`;
}

function forwardKernel(activation: Activation) {
  return defineKernel({
    name: `gated.forward.${activation}`,
    buffers: { g: read('f32'), u: read('f32'), h: write('f32') },
    params: { count: 'u32' },
    code: `${gateWgsl(activation)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  if (i >= params.count) { return; }
  let z = g[i];
  h[i] = z * gate(z) * u[i];
}`,
  });
}

function backwardKernel(activation: Activation) {
  return defineKernel({
    name: `gated.backward.${activation}`,
    buffers: { g: read('f32'), u: read('f32'), dh: read('f32'), dg: write('f32'), du: write('f32') },
    params: { count: 'u32' },
    code: `${gateWgsl(activation)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  if (i >= params.count) { return; }
  let z = g[i];
  let s = gate(z);
  let d = dh[i];
  dg[i] = d * u[i] * (s + z * gate_slope(z, s));
  du[i] = d * z * s;
}`,
  });
}

/** h = act(g) * u over `count` elements. */
export function gatedForward<B>(
  { g, u, h }: { g: B; u: B; h: B },
  count: number,
  activation: Activation,
): Dispatch<B> {
  return dispatch(forwardKernel(activation), { g, u, h }, { count }, linearGrid(Math.ceil(count / THREADS)));
}

/** dg and du from dh and the saved g and u, over `count` elements. */
export function gatedBackward<B>(
  { g, u, dh, dg, du }: { g: B; u: B; dh: B; dg: B; du: B },
  count: number,
  activation: Activation,
): Dispatch<B> {
  const grid = linearGrid(Math.ceil(count / THREADS));
  return dispatch(backwardKernel(activation), { g, u, dh, dg, du }, { count }, grid);
}
