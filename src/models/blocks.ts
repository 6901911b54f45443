/** The blocks that the layers of all families are laid down with. */
import type { Graph } from '../graph/graph.ts';
import { attention } from '../graph/ops/attention.ts';
import { cachedAttention } from '../graph/ops/cachedAttention.ts';
import { gated } from '../graph/ops/gated.ts';
import { linear } from '../graph/ops/linear.ts';
import { rmsNorm } from '../graph/ops/rmsNorm.ts';
import { rotate } from '../graph/ops/rotate.ts';
import type { Tensor } from '../graph/tensor.ts';
import { required } from '../util/errors.ts';
import type { DecoderConfig, LayerKind } from './config.ts';
import type { DecoderInput, LayerWeights } from './decoder.ts';

/** One layer while it is laid down. */
export interface LayerScope {
  readonly graph: Graph;
  readonly config: DecoderConfig;
  readonly kind: LayerKind;
  readonly weights: LayerWeights;
  readonly input: DecoderInput;
  readonly index: number;
}

/** The layer's norm of this name, plus `residual`; `[rows, D]`, or every head by itself where the weight is as wide as one. */
export function norm(scope: LayerScope, x: Tensor, name: string, residual?: Tensor): Tensor {
  const { vectors } = scope.weights;
  return normed(
    scope.graph,
    scope.config,
    x,
    required(vectors[name], name),
    vectors[`${name}.bias`],
    residual,
  );
}

/** A norm of the config's kind. */
export function normed(
  graph: Graph,
  { norm: kind }: DecoderConfig,
  x: Tensor,
  weight: Tensor,
  _bias?: Tensor,
  residual?: Tensor,
): Tensor {
  return rmsNorm(graph, x, weight, {
    eps: kind.eps,
    offset: kind.kind === 'rms' ? kind.offset : 0,
    residual,
  });
}

/** The layer's matrix of this name applied to rows; with `residual`, added to it. */
export function project(scope: LayerScope, x: Tensor, name: string, residual?: Tensor): Tensor {
  const matrix = required(scope.weights.matrices[name], name);
  return linear(scope.graph, x, matrix, residual ? { residual } : {});
}

/** Attention of rows `[B·T, D]` to those before them, up to its output matrix: `[B·T, H·headDim]`. */
export function selfAttention(scope: LayerScope, x: Tensor): Tensor {
  const { graph, config, kind, weights, input, index } = scope;
  const { heads, kvHeads, headDim } = config;
  let q = project(scope, x, 'q');
  let k = project(scope, x, 'k');
  const v = project(scope, x, 'v');
  if (weights.vectors.qNorm) q = norm(scope, q, 'qNorm');
  if (weights.vectors.kNorm) k = norm(scope, k, 'kNorm');
  if (kind.rope) {
    const table = required(input.rotary.get(kind.rope), 'rotary table');
    const place = { headDim, length: input.length, state: input.cache?.state };
    q = rotate(graph, q, table, { ...place, heads });
    k = rotate(graph, k, table, { ...place, heads: kvHeads });
  }
  const shape = {
    batch: input.batch,
    length: input.length,
    heads,
    kvHeads,
    headDim,
    window: kind.window,
    scale: kind.attentionScale,
    cap: config.attentionCap,
  };
  if (!input.cache) return attention(graph, q, k, v, shape);
  const cache = required(input.cache.layers[index], 'cache');
  return cachedAttention(graph, q, k, v, shape, cache, input.cache.state);
}

/** `activation(gate) · up` of rows, up to the matrix `down`: `[rows, F]`. */
export function gatedInner(scope: LayerScope, x: Tensor): Tensor {
  const gate = project(scope, x, 'gate');
  const up = project(scope, x, 'up');
  return gated(scope.graph, gate, up, scope.config.activation);
}
