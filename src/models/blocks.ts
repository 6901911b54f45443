/** The blocks that the layers of all families are laid down with. */
import type { Graph } from '../graph/graph.ts';
import { activate } from '../graph/ops/activate.ts';
import { attention } from '../graph/ops/attention.ts';
import { cachedAttention } from '../graph/ops/cachedAttention.ts';
import { gated } from '../graph/ops/gated.ts';
import { layerNorm } from '../graph/ops/layerNorm.ts';
import { linear } from '../graph/ops/linear.ts';
import { rmsNorm } from '../graph/ops/rmsNorm.ts';
import { rotate } from '../graph/ops/rotate.ts';
import { scaled } from '../graph/ops/scaled.ts';
import { splitColumns } from '../graph/ops/splitColumns.ts';
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
  bias?: Tensor,
  residual?: Tensor,
): Tensor {
  const { eps } = kind;
  if (kind.kind === 'layer') return layerNorm(graph, x, weight, { eps, bias, residual });
  return rmsNorm(graph, x, weight, { eps, offset: kind.offset, residual });
}

/** The layer's matrix of this name applied to rows; with `residual`, added to it at the config's scale. */
export function project(scope: LayerScope, x: Tensor, name: string, residual?: Tensor): Tensor {
  const matrix = required(scope.weights.matrices[name], name);
  const { residualScale } = scope.config;
  if (!residual) return linear(scope.graph, x, matrix);
  if (residualScale === 1) return linear(scope.graph, x, matrix, { residual });
  return scaled(scope.graph, linear(scope.graph, x, matrix), residualScale, residual);
}

/** How a matrix `qkv` orders its rows: all of q, then k, then v; or q, k and v of one head after the other. */
export type FusedOrder = 'parts' | 'heads';

function queryKeyValue(scope: LayerScope, x: Tensor, order: FusedOrder): [Tensor, Tensor, Tensor] {
  if (!scope.weights.matrices.qkv)
    return [project(scope, x, 'q'), project(scope, x, 'k'), project(scope, x, 'v')];
  const { heads, kvHeads, headDim } = scope.config;
  const fused = project(scope, x, 'qkv');
  const stride = (heads + 2 * kvHeads) * headDim;
  const part = (name: string, first: number, count: number) =>
    order === 'parts'
      ? { name, offset: first * headDim, groups: 1, groupStride: stride, width: count * headDim }
      : { name, offset: (first / heads) * headDim, groups: heads, groupStride: 3 * headDim, width: headDim };
  const [q, k, v] = splitColumns(scope.graph, fused, stride, [
    part('q', 0, heads),
    part('k', heads, kvHeads),
    part('v', heads + kvHeads, kvHeads),
  ]);
  return [required(q, 'q'), required(k, 'k'), required(v, 'v')];
}

/** Attention of rows `[B·T, D]` to those before them, up to its output matrix: `[B·T, H·headDim]`. */
export function selfAttention(scope: LayerScope, x: Tensor, order: FusedOrder = 'parts'): Tensor {
  const { graph, config, kind, weights, input, index } = scope;
  const { heads, kvHeads, headDim } = config;
  let [q, k, v] = queryKeyValue(scope, x, order);
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
  const { graph, config, weights } = scope;
  if (!weights.matrices.gateUp)
    return gated(graph, project(scope, x, 'gate'), project(scope, x, 'up'), config.activation);
  const half = { groups: 1, groupStride: 2 * config.ffn, width: config.ffn };
  const [gate, up] = splitColumns(graph, project(scope, x, 'gateUp'), 2 * config.ffn, [
    { name: 'gate', offset: 0, ...half },
    { name: 'up', offset: config.ffn, ...half },
  ]);
  return gated(graph, required(gate, 'gate'), required(up, 'up'), config.activation);
}

/** `activation(up)` of rows, up to the matrix `down`: `[rows, F]`. */
export function plainInner(scope: LayerScope, x: Tensor): Tensor {
  return activate(scope.graph, project(scope, x, 'up'), scope.config.activation);
}
