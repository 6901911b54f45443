import type { Representation } from '../align/representation.ts';
import { type Device, isOnProcessor } from '../device/device.ts';
import type { DecoderWeights } from '../models/decoder.ts';
import type { FrozenModel } from '../models/loadedModel.ts';
import type { RowScorer } from '../models/rowScorer.ts';
import { Scorer } from '../models/scorer.ts';
import { AlloyError, required } from '../util/errors.ts';
import { Answerer } from './answer.ts';
import { scoreTexts } from './evaluateStage.ts';
import { Lock } from './lock.ts';
import type { OpenModel } from './openModel.ts';
import type { ChatResult, ChatToken, Conversation, Message, NextToken, Sampling } from './protocol.ts';
import { isTrimmed } from './represent.ts';

/** Tokens that a chat can hold, where the model's context is longer. */
const CHAT_TOKENS = 2048;
/** Tokens of a probe that go through at once. */
const PROBE_TOKENS = { gpu: 1024, software: 256 };
/** Entries of a row that a person is shown. */
export const SHOWN_ROWS = 10;

/**
 * A model on the GPU with the programs that answer, score and represent with it, each made when it is first needed. One
 * call at a time runs; the others wait.
 */
export class ModelRunner {
  readonly model: OpenModel;
  readonly #device: Device;
  readonly #release: () => void;
  readonly #lock = new Lock();
  #weights: DecoderWeights | FrozenModel;
  #answerer: Answerer | undefined;
  #stale = false;
  #single: RowScorer | undefined;
  #many: RowScorer | undefined;
  #closed = false;

  /**
   * @param weights or the frozen model, which answers nothing but gives rows
   * @param release frees the weights
   */
  constructor(device: Device, model: OpenModel, weights: DecoderWeights | FrozenModel, release: () => void) {
    this.#device = device;
    this.model = model;
    this.#weights = weights;
    this.#release = release;
  }

  /** See `Answerer.answer`. */
  answer(
    messages: readonly Message[],
    sampling: Sampling,
    onToken: (token: ChatToken) => void,
    signal: AbortSignal,
  ): Promise<ChatResult> {
    return this.#run(async () => {
      if (signal.aborted) return { text: '', stop: 'interrupted', tokens: 0, tokensPerSecond: 0 };
      return (await this.#answering()).answer(messages, sampling, onToken, signal);
    });
  }

  nextTokens(messages: readonly Message[], count: number): Promise<NextToken[]> {
    return this.#run(async () => (await this.#answering()).nextTokens(messages, count));
  }

  /** Rows of one conversation, all of them: those that are not trained on too. @param maxTokens cut on the right */
  represent({ id, messages }: Conversation, maxTokens: number): Promise<Representation> {
    return this.#run(async () => {
      const encoded = this.model.text.encode(messages, maxTokens, { openEnd: isTrimmed({ id }) });
      this.#single ??= this.#scorer(SHOWN_ROWS, 1);
      const [rows] = await this.#single.score([encoded.tokens]);
      const topK = Math.min(SHOWN_ROWS, this.model.config.vocabSize);
      return { id, ...encoded, topK, ...required(rows, 'rows') };
    });
  }

  /**
   * Nats per byte of the assistant's text, and how long it took to work out.
   * @throws AlloyError `bad-argument` when it is not finite
   */
  nllPerByte(
    conversations: readonly Conversation[],
    maxTokens: number,
  ): Promise<{ nllPerByte: number; ms: number }> {
    return this.#run(async () => {
      this.#many ??= this.#scorer(1, PROBE_TOKENS[isOnProcessor(this.#device.info) ? 'software' : 'gpu']);
      const started = performance.now();
      const scores = await scoreTexts(this.#many, this.model, conversations, maxTokens, async () => {});
      const total = (key: 'nats' | 'bytes') => scores.reduce((sum, one) => sum + one[key], 0);
      const nllPerByte = total('nats') / total('bytes');
      if (Number.isFinite(nllPerByte)) return { nllPerByte, ms: performance.now() - started };
      throw new AlloyError(
        'bad-argument',
        'The fused model gives numbers that are not finite; reset the merge weights.',
      );
    });
  }

  /** Says that numbers inside the weights have changed; what was read before no longer counts. */
  moved(): void {
    this.#stale = true;
  }

  /** Puts other weights in place, made while nothing runs; programs are recorded anew. */
  replace(make: () => Promise<DecoderWeights>): Promise<void> {
    return this.#run(async () => {
      this.#dropPrograms();
      this.#weights = await make();
    });
  }

  /** Frees everything when what runs has ended. */
  close(): Promise<void> {
    return this.#lock.run(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#dropPrograms();
      this.#release();
    });
  }

  #run<T>(job: () => Promise<T>): Promise<T> {
    return this.#lock.run(() => {
      if (this.#closed) {
        throw new AlloyError('cancelled', `${this.model.name} was put away meanwhile; try again.`);
      }
      return job();
    });
  }

  /** @throws AlloyError `out-of-memory`; other models can still be used */
  async #answering(): Promise<Answerer> {
    if (!this.#answerer) {
      const weights = this.#weights;
      if ('scorer' in weights) {
        throw new AlloyError(
          'unsupported',
          `${this.model.name} is an ONNX model, a frozen source only: it gives rows and writes no answers; chat with a model of safetensors or GGUF.`,
        );
      }
      const make = () => new Answerer(this.#device, this.model, { weights }, CHAT_TOKENS);
      const made = this.#device.allOrNothing(make);
      try {
        await this.#device.settled();
      } catch (error) {
        made.dispose();
        throw error;
      }
      this.#answerer = made;
    }
    if (this.#stale) this.#answerer.forget();
    this.#stale = false;
    return this.#answerer;
  }

  #scorer(topK: number, batchTokens: number): RowScorer {
    const weights = this.#weights;
    if ('scorer' in weights) return weights.scorer({ topK, batchTokens });
    return new Scorer(this.#device, this.model.config, weights, { topK, batchTokens });
  }

  #dropPrograms(): void {
    this.#answerer?.dispose();
    this.#single?.dispose();
    this.#many?.dispose();
    this.#answerer = undefined;
    this.#single = undefined;
    this.#many = undefined;
  }
}
