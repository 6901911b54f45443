import { rmsNormBackward, rmsNormBackwardWeight, rmsNormForward } from '../../kernels/rmsNorm.ts';
import { normScratchBytes } from '../../kernels/rowNorm.ts';
import type { Graph } from '../graph.ts';
import { elementsOf, type Tensor } from '../tensor.ts';

/**
 * `x / rms(x) · (offset + w)`, plus `residual`. The width is that of `weight`: with `w` `[d]` and `x` `[rows, H·d]`
 * every head is normed by itself.
 */
export function rmsNorm(
  graph: Graph,
  x: Tensor,
  weight: Tensor,
  options: { readonly eps: number; readonly offset: 0 | 1; readonly residual: Tensor | undefined },
): Tensor {
  const { eps, offset, residual } = options;
  const width = elementsOf(weight);
  const shape = { rows: x.bytes / 4 / width, width, eps, offset };
  const needsGradient = x.needsGradient || weight.needsGradient || (residual?.needsGradient ?? false);
  const y = graph.tensor('normed', x.shape, needsGradient);
  const rstd = graph.tensor('rstd', [shape.rows]);
  const inputs = { x, w: weight, y, rstd };
  if (residual) graph.emit(rmsNormForward({ ...inputs, residual }, shape, graph.tuning));
  else graph.emitCheap(y, rmsNormForward(inputs, shape, graph.tuning));
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    if (weight.gradient) {
      const scratch = graph.tensor('normScratch', [normScratchBytes(shape) / 4]);
      graph.emit(rmsNormBackwardWeight({ x, rstd, dy, dw: weight.gradient, scratch }, shape, true));
    }
    gradients.contribute(x, (dx, accumulate) => {
      graph.emit(rmsNormBackward({ x, w: weight, rstd, dy, dx }, shape, accumulate, graph.tuning));
    });
    if (residual) gradients.pass(residual, dy);
  });
  return y;
}
