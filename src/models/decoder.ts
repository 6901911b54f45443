import type { Graph } from '../graph/graph.ts';
import { addPositions } from '../graph/ops/addPositions.ts';
import type { KvCache } from '../graph/ops/cachedAttention.ts';
import { embed } from '../graph/ops/embed.ts';
import type { RotaryTable } from '../graph/ops/rotate.ts';
import { scaled } from '../graph/ops/scaled.ts';
import type { Matrix, Tensor, Weight } from '../graph/tensor.ts';
import { required } from '../util/errors.ts';
import { normed } from './blocks.ts';
import type { DecoderConfig, Rope } from './config.ts';
import { familyOf } from './families/families.ts';

/** A matrix of a layer as its family calls it; see `MatrixSpec`. */
export type MatrixName = string;

/** The tensors of one layer by the names of its family. */
export interface LayerWeights {
  readonly matrices: Readonly<Record<MatrixName, Matrix>>;
  /** Weights and biases of norms. */
  readonly vectors: Readonly<Record<string, Tensor>>;
}

export interface DecoderWeights {
  readonly embedding: Weight;
  /** Learned positions `[positions, D]`. */
  readonly positions: Tensor | undefined;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Tensor;
  readonly finalNormBias: Tensor | undefined;
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
  readonly rotary: ReadonlyMap<Rope, RotaryTable>;
  /** One cache a layer; then `state` holds [position of the first row, number of valid rows]. */
  readonly cache?: { readonly layers: readonly KvCache[]; readonly state: Tensor };
  /** Sorted token segments for the gradient of a trainable embedding. */
  readonly segments?: Tensor;
}

/** Lays down the decoder up to its final norm; gives the rows `[B·T, D]` that the head multiplies. */
export function decoderHidden(
  graph: Graph,
  config: DecoderConfig,
  weights: DecoderWeights,
  input: DecoderInput,
): Tensor {
  let hidden = decoderInput(graph, config, weights, input);
  for (let index = 0; index < config.layers.length; index++) {
    const before = hidden;
    hidden = graph.segment(() => decoderLayer(graph, config, weights, input, before, index));
  }
  return decoderOutput(graph, config, weights, hidden);
}

/** Rows of the embedding, with learned positions where there are some. */
export function decoderInput(
  graph: Graph,
  config: DecoderConfig,
  weights: DecoderWeights,
  input: DecoderInput,
): Tensor {
  const rows = input.batch * input.length;
  const { embeddingScale: scale } = config;
  const embedded = embed(graph, weights.embedding, input.tokens, { rows, scale, segments: input.segments });
  if (!weights.positions) return embedded;
  const place = { rows, length: input.length, state: input.cache?.state };
  return addPositions(graph, embedded, weights.positions, place);
}

/** The final norm of rows, at the scale that the head wants. */
export function decoderOutput(
  graph: Graph,
  config: DecoderConfig,
  weights: DecoderWeights,
  hidden: Tensor,
): Tensor {
  const last = normed(graph, config, hidden, weights.finalNorm, weights.finalNormBias);
  return config.headScale === 1 ? last : scaled(graph, last, config.headScale);
}

/** Lays down layer `index`: it reads `hidden` and the layer's own weights and cache, and nothing else of the graph. */
export function decoderLayer(
  graph: Graph,
  config: DecoderConfig,
  weights: DecoderWeights,
  input: DecoderInput,
  hidden: Tensor,
  index: number,
): Tensor {
  const kind = required(config.layers[index], `layer ${index}`);
  const layer = required(weights.layers[index], `weights of layer ${index}`);
  return familyOf(config).layer({ graph, config, kind, weights: layer, input, index }, hidden);
}
