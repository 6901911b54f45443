/**
 * The gated activation of a feed-forward block, h = act(g) * u with act(z) = z * gate(z) of `activation.ts`. One thread
 * an element; g and u are saved for the backward pass.
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
import { type Activation, activationNumber, gateWgsl } from './activation.ts';
import { elementsInWasm } from './elementwise.ts';

const THREADS = 256;

function forwardKernel(activation: Activation) {
  return defineKernel({
    name: `gated.forward.${activation}`,
    buffers: { g: read('f32'), u: read('f32'), h: write('f32') },
    params: { count: 'u32' },
    code: `${LINEAR_GROUP}${gateWgsl(activation)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  if (i >= params.count) { return; }
  let z = g[i];
  h[i] = z * gate(z) * u[i];
}`,
    wasm: elementsInWasm('gatedForward', [activationNumber(activation)]),
  });
}

function backwardKernel(activation: Activation) {
  return defineKernel({
    name: `gated.backward.${activation}`,
    buffers: { g: read('f32'), u: read('f32'), dh: read('f32'), dg: write('f32'), du: write('f32') },
    params: { count: 'u32' },
    code: `${LINEAR_GROUP}${gateWgsl(activation)}
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
    wasm: elementsInWasm('gatedBackward', [activationNumber(activation)]),
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
