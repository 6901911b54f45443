import { activateBackward, activateForward } from '../../kernels/activate.ts';
import type { Activation } from '../../kernels/activation.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** `activation(x)`, element by element. */
export function activate(graph: Graph, x: Tensor, activation: Activation): Tensor {
  const count = x.bytes / 4;
  const h = graph.tensor('activated', x.shape, x.needsGradient);
  graph.emitCheap(h, activateForward({ x, h }, count, activation));
  graph.onBackward([h], (gradients) => {
    const dh = gradients.take(h);
    graph.emit(activateBackward({ x, dh, dx: gradients.seed(x) }, count, activation));
  });
  return h;
}
