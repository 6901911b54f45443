import type { DecoderConfig } from './config.ts';
import type { DecoderWeights } from './decoder.ts';
import type { RowScorer, RowScorerOptions } from './rowScorer.ts';

/** A model whose weights are on the GPU. */
export interface LoadedModel {
  readonly config: DecoderConfig;
  /** @throws AlloyError `unsupported` where the model is frozen */
  readonly weights: DecoderWeights;
  /** There where another runtime runs the model: it gives rows and nothing else. */
  readonly frozen?: FrozenModel;
  dispose(): void;
}

/** A model that another runtime runs. */
export interface FrozenModel {
  /** Where it runs, as a sentence. */
  readonly status: string;
  /** What its weights take, about. */
  readonly bytes: number;
  scorer(options: RowScorerOptions): RowScorer;
}
