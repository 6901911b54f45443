import { layerNormBackward, layerNormBackwardWeight, layerNormForward } from '../../kernels/layerNorm.ts';
import { columnSums } from '../../kernels/matmulColumnSums.ts';
import { normScratchBytes } from '../../kernels/rowNorm.ts';
import type { Graph } from '../graph.ts';
import { elementsOf, type Tensor } from '../tensor.ts';

/**
 * `(x − mean) / σ · w + bias`, plus `residual`. The width is that of `weight`: with `w` `[d]` and `x` `[rows, H·d]` every
 * head is normed by itself.
 */
export function layerNorm(
  graph: Graph,
  x: Tensor,
  weight: Tensor,
  options: {
    readonly eps: number;
    readonly bias: Tensor | undefined;
    readonly residual: Tensor | undefined;
  },
): Tensor {
  const { eps, bias, residual } = options;
  const width = elementsOf(weight);
  const shape = { rows: x.bytes / 4 / width, width, eps };
  const inputs = [x, weight, bias, residual].filter((one) => one !== undefined);
  const y = graph.tensor(
    'normed',
    x.shape,
    inputs.some((one) => one.needsGradient),
  );
  const stats = graph.tensor('norm.stats', [shape.rows, 2]);
  const buffers = { x, w: weight, y, stats, ...(bias && { b: bias }) };
  if (residual) graph.emit(layerNormForward({ ...buffers, residual }, shape, graph.tuning));
  else graph.emitCheap(y, layerNormForward(buffers, shape, graph.tuning));
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    if (weight.gradient) {
      const scratch = graph.tensor('normScratch', [normScratchBytes(shape) / 4]);
      graph.emit(layerNormBackwardWeight({ x, stats, dy, dw: weight.gradient, scratch }, shape, true));
    }
    if (bias?.gradient)
      graph.emit(columnSums({ dy, db: bias.gradient }, { m: shape.rows, n: width, accumulate: true }));
    gradients.contribute(x, (dx, accumulate) => {
      graph.emit(layerNormBackward({ x, w: weight, stats, dy, dx }, shape, accumulate, graph.tuning));
    });
    if (residual) gradients.pass(residual, dy);
  });
  return y;
}
