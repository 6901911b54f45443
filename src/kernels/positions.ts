/**
 * Learned positions: y[r, :] = x[r, :] + table[p(r), :] with p(r) = r % tokens (+ state[0] with a cache), and the gradient
 * of the table. Rows past its end (padding) take its last row. One thread an element; the gradient adds up the sequences
 * of a batch in order.
 */
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  read,
  write,
} from '../device/kernel.ts';
import { elementGrid, forEachElement } from './elementwise.ts';

export interface PositionsShape {
  /** B * T */
  readonly rows: number;
  /** T */
  readonly tokens: number;
  readonly width: number;
  /** Rows of the table. */
  readonly positions: number;
}

function forwardKernel(cached: boolean): Kernel {
  const state: Record<string, BufferSpec> = cached ? { state: read('u32') } : {};
  return defineKernel<string, string>({
    name: `positions.forward${cached ? '.cached' : ''}`,
    buffers: { x: read('f32'), table: read('f32'), ...state, y: write('f32') },
    params: { count: 'u32', tokens: 'u32', width: 'u32', positions: 'u32' },
    code: forEachElement(`
  let position = (i / params.width) % params.tokens${cached ? ' + state[0]' : ''};
  y[i] = x[i] + table[min(position, params.positions - 1u) * params.width + i % params.width];`),
    wasm: {
      name: 'positionsForward',
      constants: [cached ? 1 : 0],
      pieces: ({ count = 0, width = 1 }) => count / width,
    },
  });
}

const backwardKernel = defineKernel({
  name: 'positions.backward',
  buffers: { dy: read('f32'), dtable: write('f32') },
  params: { count: 'u32', rows: 'u32', tokens: 'u32', width: 'u32', positions: 'u32' },
  code: forEachElement(`
  let position = i / params.width;
  let last = select(position + 1u, params.tokens, position + 1u == params.positions);
  var sum = 0.0;
  for (var first = 0u; first < params.rows; first += params.tokens) {
    for (var t = position; t < last; t++) { sum += dy[(first + t) * params.width + i % params.width]; }
  }
  dtable[i] += sum;`),
  wasm: { name: 'positionsBackward', pieces: ({ count, width }) => count / width },
});

/** y [rows, width] from x and table [positions, width]; with `state` (u32), state[0] is the position of row 0. */
export function positionsForward<B>(
  { x, table, state, y }: { x: B; table: B; state?: B | undefined; y: B },
  { rows, tokens, width, positions }: PositionsShape,
): Dispatch<B> {
  const count = rows * width;
  return dispatch<string, string, B>(
    forwardKernel(state !== undefined),
    state === undefined ? { x, table, y } : { x, table, state, y },
    { count, tokens, width, positions },
    elementGrid(count),
  );
}

/** dtable [positions, width] += sums of dy [rows, width] over the sequences. */
export function positionsBackward<B>(
  { dy, dtable }: { dy: B; dtable: B },
  { rows, tokens, width, positions }: PositionsShape,
): Dispatch<B> {
  const count = Math.min(tokens, positions) * width;
  return dispatch(
    backwardKernel,
    { dy, dtable },
    { count, rows, tokens, width, positions },
    elementGrid(count),
  );
}
