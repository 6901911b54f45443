import type { DecoderConfig } from './config.ts';
import type { DecoderWeights } from './decoder.ts';

/** A model whose weights are on the GPU. */
export interface LoadedModel {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  dispose(): void;
}
