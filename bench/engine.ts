import type { DecodeCase, LoraCase } from './decodeCase.ts';
import type { TrainCase } from './trainCase.ts';
import type { KernelTime } from './watch.ts';

/** A train step that is ready to run. */
export interface Stepper {
  /** One step on the fixed batch; the loss before the update, in nats. Resolves when the GPU has finished. */
  step(): Promise<number>;
  /** What the engine did on the GPU in the last step, as far as it was counted. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** `y[M, N] = x[M, K] · W[N, K]ᵀ`, the product of a linear layer. */
export interface MatmulCase {
  readonly name: string;
  /** M */
  readonly rows: number;
  /** N */
  readonly outputs: number;
  /** K */
  readonly inputs: number;
  /** `q4`: blocks of 32 along K with an f32 scale and the zero point 8. */
  readonly weights: 'f32' | 'q4';
}

export interface MatmulRunner {
  /** Runs the product `count` times and waits for the GPU once. */
  run(count: number): Promise<void>;
  /** The first row of the result, to compare engines. */
  firstRow(): Promise<Float32Array>;
}

export interface BestToken {
  readonly id: number;
  readonly below: number;
}

/** Generation after a prompt that has been read. */
export interface DecodeRunner {
  /** The best tokens after the prompt, with their logits below the best one's, to compare engines. */
  readonly best: readonly BestToken[];
  /** The engine rounds what it multiplies, so that its logits differ. */
  readonly rounded?: boolean;
  /** Greedy, `count` tokens more. */
  decode(count: number): Promise<number[]>;
}

/** One engine, as the bench sees it; it runs in a process of its own. */
export interface BenchEngine {
  readonly name: string;
  readonly version: string;
  openStep?(trainCase: TrainCase): Promise<Stepper>;
  openMatmul?(matmulCase: MatmulCase): Promise<MatmulRunner>;
  openLora?(loraCase: LoraCase): Promise<Stepper>;
  /** A sequence read at once, without learning from it. */
  openForward?(decodeCase: DecodeCase): Promise<Stepper>;
  openDecode?(decodeCase: DecodeCase): Promise<DecodeRunner>;
  /** Where the time of what was opened last goes on the GPU, by kernel. */
  profile?(): Promise<KernelTime[]>;
}
