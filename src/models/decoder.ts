import type { Graph } from '../graph/graph.ts';
import { attention } from '../graph/ops/attention.ts';
import { cachedAttention, type KvCache } from '../graph/ops/cachedAttention.ts';
import { embed } from '../graph/ops/embed.ts';
import { gated } from '../graph/ops/gated.ts';
import { linear } from '../graph/ops/linear.ts';
import { rmsNorm } from '../graph/ops/rmsNorm.ts';
import { type RotaryTable, rotate } from '../graph/ops/rotate.ts';
import type { Matrix, Tensor, Weight } from '../graph/tensor.ts';
import { required } from '../util/errors.ts';
import type { DecoderConfig, LayerKind } from './config.ts';

/** The projections of a layer that can be adapted and merged, in the order of a layer. */
export const MATRICES = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
export type MatrixName = (typeof MATRICES)[number];

export interface LayerWeights extends Readonly<Record<MatrixName, Matrix>> {
  readonly inputNorm: Tensor;
  /** Before the MLP. */
  readonly mlpNorm: Tensor;
  readonly qNorm: Tensor | undefined;
  readonly kNorm: Tensor | undefined;
  /** After attention and after the MLP, before the residual is added (Gemma 3). */
  readonly attentionOutNorm: Tensor | undefined;
  readonly mlpOutNorm: Tensor | undefined;
}

export interface DecoderWeights {
  readonly embedding: Weight;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Tensor;
  /** The embedding itself where the head is tied. */
  readonly head: Weight;
}

/** The rows one run computes: `batch` sequences of `length` tokens, or a stretch of one sequence with a cache. */
export interface DecoderInput {
  /** u32 `[B·T]`. */
  readonly tokens: Tensor;
  readonly batch: number;
  readonly length: number;
  /** One table a distinct rope of the config, see `rotaryTables`. */
  readonly rotary: ReadonlyMap<LayerKind['rope'], RotaryTable>;
  /** One cache a layer; then `state` holds [position of the first row, number of valid rows]. */
  readonly cache?: { readonly layers: readonly KvCache[]; readonly state: Tensor };
  /** Sorted token segments for the gradient of a trainable embedding. */
  readonly segments?: Tensor;
}

/** Lays down the decoder up to its final norm; gives the hidden rows `[B·T, D]`. */
export function decoderHidden(
  graph: Graph,
  config: DecoderConfig,
  weights: DecoderWeights,
  input: DecoderInput,
): Tensor {
  let hidden = embed(graph, weights.embedding, input.tokens, {
    rows: input.batch * input.length,
    scale: config.embeddingScale,
    segments: input.segments,
  });
  config.layers.forEach((kind, index) => {
    const layer = required(weights.layers[index], `layer ${index}`);
    const rows = hidden;
    hidden = graph.segment(() => {
      const attended = attentionBlock(graph, config, kind, layer, rows, input, index);
      return mlpBlock(graph, config, layer, attended);
    });
  });
  return norm(graph, config, hidden, weights.finalNorm);
}

function norm(graph: Graph, config: DecoderConfig, x: Tensor, weight: Tensor, residual?: Tensor): Tensor {
  return rmsNorm(graph, x, weight, { eps: config.normEps, offset: config.normOffset, residual });
}

/** `x W` added to the residual stream, through a norm of its own where the family has one. */
function intoResidual(
  graph: Graph,
  config: DecoderConfig,
  x: Tensor,
  matrix: Matrix,
  outNorm: Tensor | undefined,
  residual: Tensor,
): Tensor {
  if (!outNorm) return linear(graph, x, matrix, { residual });
  return norm(graph, config, linear(graph, x, matrix), outNorm, residual);
}

function attentionBlock(
  graph: Graph,
  config: DecoderConfig,
  kind: LayerKind,
  layer: LayerWeights,
  hidden: Tensor,
  input: DecoderInput,
  index: number,
): Tensor {
  const { heads, kvHeads, headDim } = config;
  const normed = norm(graph, config, hidden, layer.inputNorm);
  let q = linear(graph, normed, layer.q);
  let k = linear(graph, normed, layer.k);
  const v = linear(graph, normed, layer.v);
  if (layer.qNorm) q = norm(graph, config, q, layer.qNorm);
  if (layer.kNorm) k = norm(graph, config, k, layer.kNorm);
  const table = required(input.rotary.get(kind.rope), 'rotary table');
  const state = input.cache?.state;
  q = rotate(graph, q, table, { heads, headDim, length: input.length, state });
  k = rotate(graph, k, table, { heads: kvHeads, headDim, length: input.length, state });
  const shape = {
    batch: input.batch,
    length: input.length,
    heads,
    kvHeads,
    headDim,
    window: kind.window,
    scale: config.attentionScale,
    cap: config.attentionCap,
  };
  const out = input.cache
    ? cachedAttention(graph, q, k, v, shape, required(input.cache.layers[index], 'cache'), input.cache.state)
    : attention(graph, q, k, v, shape);
  return intoResidual(graph, config, out, layer.o, layer.attentionOutNorm, hidden);
}

function mlpBlock(graph: Graph, config: DecoderConfig, layer: LayerWeights, hidden: Tensor): Tensor {
  const normed = norm(graph, config, hidden, layer.mlpNorm);
  const gate = linear(graph, normed, layer.gate);
  const up = linear(graph, normed, layer.up);
  const inner = gated(graph, gate, up, config.activation);
  return intoResidual(graph, config, inner, layer.down, layer.mlpOutNorm, hidden);
}
