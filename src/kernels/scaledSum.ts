/** y[i] = a·x[i] (+ residual[i]) over flat f32 arrays; grid and cost as in `elementwise.ts`. */
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  read,
  write,
} from '../device/kernel.ts';
import { elementGrid, elementsInWasm, forEachElement } from './elementwise.ts';

function kernel(residual: boolean, accumulate: boolean): Kernel {
  const added: Record<string, BufferSpec> = residual ? { residual: read('f32') } : {};
  return defineKernel<string, string>({
    name: `scaledSum${residual ? '.residual' : ''}${accumulate ? '.add' : ''}`,
    buffers: { x: read('f32'), ...added, y: write('f32') },
    params: { count: 'u32', a: 'f32' },
    code: forEachElement(
      `y[i] ${accumulate ? '+=' : '='} params.a * x[i]${residual ? ' + residual[i]' : ''};`,
    ),
    wasm: elementsInWasm('scaledSum', [residual ? 1 : 0, accumulate ? 1 : 0]),
  });
}

/** y (= or +=) a·x, plus `residual` where given. */
export function scaledSum<B>(
  { x, residual, y }: { x: B; residual?: B | undefined; y: B },
  count: number,
  a: number,
  accumulate = false,
): Dispatch<B> {
  return dispatch<string, string, B>(
    kernel(residual !== undefined, accumulate),
    residual === undefined ? { x, y } : { x, residual, y },
    { count, a },
    elementGrid(count),
  );
}
