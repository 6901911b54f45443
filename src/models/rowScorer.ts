import type { Device } from '../device/device.ts';
import type { LoadedModel } from './loadedModel.ts';
import { type ScoredRows, Scorer } from './scorer.ts';

export interface RowScorerOptions {
  /** K, 1 to 64. */
  readonly topK: number;
  /** Bit set of the tokens whose probability is summed up, see `markIds`. */
  readonly marks?: Uint32Array<ArrayBuffer>;
  /** Rows that go through at once (at least one sequence does); by default what the adapter likes. */
  readonly batchTokens?: number;
}

/** Gives the rows of whole sequences, whatever runs the model. */
export interface RowScorer {
  /** How many sequences of this length go through at once. */
  batchFor(length: number): number;
  /** Scores up to `batchFor(longest)` sequences of at least one token. */
  score(sequences: readonly ArrayLike<number>[]): Promise<ScoredRows[]>;
  dispose(): void;
}

/** The scorer of a model: our own decoder's, or that of the runtime that a frozen model came with. */
export function rowScorer(device: Device, model: LoadedModel, options: RowScorerOptions): RowScorer {
  return model.frozen?.scorer(options) ?? new Scorer(device, model.config, model.weights, options);
}
