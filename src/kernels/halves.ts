/**
 * Half floats, two to a word, as f32. Layout: flat, any count (the last word may hold one). Grid as in elementwise.ts.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { elementGrid, elementsInWasm, forEachElement } from './elementwise.ts';

const widenKernel = defineKernel({
  name: 'halves.widen',
  buffers: { x: read('u32'), y: write('f32') },
  params: { count: 'u32' },
  code: forEachElement(`
    let pair = unpack2x16float(x[i >> 1u]);
    y[i] = select(pair.x, pair.y, (i & 1u) == 1u);`),
  wasm: elementsInWasm('halvesWiden'),
});

/** @param buffers x: `count` half floats; y: f32 [count], written */
export function widenHalves<B>(buffers: { x: B; y: B }, count: number): Dispatch<B> {
  return dispatch(widenKernel, buffers, { count }, elementGrid(count));
}
