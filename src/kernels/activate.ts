/** A plain activation, h = act(x) with act(z) = z * gate(z) of `activation.ts`; one thread an element, x is saved. */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { type Activation, activationNumber, gateWgsl } from './activation.ts';
import { elementGrid, elementsInWasm, forEachElement } from './elementwise.ts';

function forwardKernel(activation: Activation) {
  return defineKernel({
    name: `activate.forward.${activation}`,
    buffers: { x: read('f32'), h: write('f32') },
    params: { count: 'u32' },
    code: gateWgsl(activation) + forEachElement('h[i] = x[i] * gate(x[i]);'),
    wasm: elementsInWasm('activateForward', [activationNumber(activation)]),
  });
}

function backwardKernel(activation: Activation) {
  return defineKernel({
    name: `activate.backward.${activation}`,
    buffers: { x: read('f32'), dh: read('f32'), dx: write('f32') },
    params: { count: 'u32' },
    code:
      gateWgsl(activation) +
      forEachElement('let s = gate(x[i]); dx[i] = dh[i] * (s + x[i] * gate_slope(x[i], s));'),
    wasm: elementsInWasm('activateBackward', [activationNumber(activation)]),
  });
}

/** h = act(x) over `count` elements. */
export function activateForward<B>(
  { x, h }: { x: B; h: B },
  count: number,
  activation: Activation,
): Dispatch<B> {
  return dispatch(forwardKernel(activation), { x, h }, { count }, elementGrid(count));
}

/** dx from dh and the saved x, over `count` elements. */
export function activateBackward<B>(
  { x, dh, dx }: { x: B; dh: B; dx: B },
  count: number,
  activation: Activation,
): Dispatch<B> {
  return dispatch(backwardKernel(activation), { x, dh, dx }, { count }, elementGrid(count));
}
