import type { Activation } from '../../kernels/activation.ts';
import { gatedBackward, gatedForward } from '../../kernels/gated.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** `activation(gate) · up`, element by element. */
export function gated(graph: Graph, gate: Tensor, up: Tensor, activation: Activation): Tensor {
  const count = gate.bytes / 4;
  const needsGradient = gate.needsGradient || up.needsGradient;
  const h = graph.tensor('gated', gate.shape, needsGradient);
  graph.emitCheap(h, gatedForward({ g: gate, u: up, h }, count, activation));
  graph.onBackward([h], (gradients) => {
    const dh = gradients.take(h);
    const dg = gradients.seed(gate);
    const du = gradients.seed(up);
    graph.emit(gatedBackward({ g: gate, u: up, dh, dg, du }, count, activation));
  });
  return h;
}
