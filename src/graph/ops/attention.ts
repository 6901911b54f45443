import { attentionBackward, attentionDeltaBytes, attentionForward } from '../../kernels/attention.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';

/** Sizes and rules of an attention layer; rows of q, k and v are `[B·T, heads·headDim]`. */
export interface AttentionOptions {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Keys a query sees, itself included; 0 = all before it. */
  readonly window: number;
  readonly scale: number;
  /** Soft cap of the scores; 0 = none. */
  readonly cap: number;
}

/** Causal attention over whole sequences; keeps row sums only. */
export function attention(graph: Graph, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { length, headDim, ...rest } = options;
  const shape = { ...rest, tokens: length, headWidth: headDim };
  const needsGradient = q.needsGradient || k.needsGradient || v.needsGradient;
  const o = graph.tensor('attended', q.shape, needsGradient);
  const lse = graph.tensor('lse', [options.batch * length * options.heads]);
  graph.emit(attentionForward({ q, k, v, o, lse }, shape, graph.tuning));
  graph.onBackward([o], (gradients) => {
    const grad = gradients.take(o);
    const delta = graph.tensor('delta', [attentionDeltaBytes(shape) / 4]);
    const [dq, dk, dv] = [gradients.seed(q), gradients.seed(k), gradients.seed(v)];
    graph.emit(attentionBackward({ q, k, v, o, lse, grad, delta, dq, dk, dv }, shape, graph.tuning));
  });
  return o;
}
