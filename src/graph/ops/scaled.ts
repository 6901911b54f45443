import { scaledSum } from '../../kernels/scaledSum.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** `factor · x`, plus `residual` where given. */
export function scaled(graph: Graph, x: Tensor, factor: number, residual?: Tensor): Tensor {
  const count = x.bytes / 4;
  const y = graph.tensor('scaled', x.shape, x.needsGradient || (residual?.needsGradient ?? false));
  graph.emit(scaledSum({ x, residual, y }, count, factor));
  graph.onBackward([y], (gradients) => {
    const dy = gradients.take(y);
    gradients.contribute(x, (dx, accumulate) => {
      graph.emit(scaledSum({ x: dy, y: dx }, count, factor, accumulate));
    });
    if (residual) gradients.pass(residual, dy);
  });
  return y;
}
