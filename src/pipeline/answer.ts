import type { Gpu } from '../gpu/gpu.ts';
import { Generator } from '../models/generator.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { AlloyError } from '../util/errors.ts';
import type { OpenModel } from './openModel.ts';
import type { ChatResult, ChatToken, Message, Sampling } from './protocol.ts';

/** Answers messages with one model. What it read of a conversation stays in its cache. */
export class Answerer {
  readonly #model: OpenModel;
  readonly #generator: Generator;

  /** @param capacity tokens of a conversation with its answers; at most the model's context is used */
  constructor(gpu: Gpu, model: OpenModel, { weights }: LoadedModel, capacity: number) {
    this.#model = model;
    this.#generator = new Generator(gpu, model.config, weights, {
      capacity: Math.min(capacity, model.config.maxPositions),
    });
  }

  /**
   * Streams the answer to the messages.
   * @throws AlloyError `bad-argument` when the conversation does not fit
   */
  async answer(
    messages: readonly Message[],
    sampling: Sampling,
    onToken: (token: ChatToken) => void,
    signal?: AbortSignal,
  ): Promise<ChatResult> {
    const prompt = this.#model.text.prompt(messages);
    if (prompt.length >= this.#generator.capacity) {
      throw new AlloyError(
        'bad-argument',
        `The conversation has ${prompt.length} tokens and leaves no room for an answer in ${this.#generator.capacity}; shorten it or start a new one.`,
      );
    }
    const started = performance.now();
    const stream = this.#model.text.answerStream();
    const tokens = this.#generator.generate(prompt, sampling, this.#model.text.stopTokens, signal);
    let text = '';
    let count = 0;
    const tell = (piece: string, probability: number) => {
      text += piece;
      onToken({ text: piece, probability });
    };
    for (;;) {
      const next = await tokens.next();
      if (next.done) {
        const rest = stream.end();
        if (rest !== '') tell(rest, Number.NaN);
        const seconds = (performance.now() - started) / 1000;
        return { text, stop: next.value, tokens: count, tokensPerSecond: count / seconds };
      }
      count++;
      tell(stream.push(next.value.id), Math.exp(next.value.logProb));
    }
  }

  dispose(): void {
    this.#generator.dispose();
  }
}
