import type { Device } from '../device/device.ts';
import { Generator } from '../models/generator.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { AlloyError } from '../util/errors.ts';
import type { OpenModel } from './openModel.ts';
import type { ChatResult, ChatToken, Message, NextToken, Sampling } from './protocol.ts';
import { tokenLabel } from './tokenLabel.ts';

/** Answers messages with one model. What it read of a conversation stays in its cache. */
export class Answerer {
  readonly #model: OpenModel;
  readonly #generator: Generator;

  /** @param capacity tokens of a conversation with its answers; at most the model's context is used */
  constructor(device: Device, model: OpenModel, { weights }: Pick<LoadedModel, 'weights'>, capacity: number) {
    this.#model = model;
    this.#generator = new Generator(device, model.config, weights, {
      capacity: Math.min(capacity, model.config.maxPositions),
    });
  }

  /**
   * Streams the answer to the messages. A piece is told when its characters are complete; its probability is the product
   * of those of its tokens.
   * @throws AlloyError `bad-argument` when the conversation does not fit, or the model's numbers are not finite
   */
  async answer(
    messages: readonly Message[],
    sampling: Sampling,
    onToken: (token: ChatToken) => void,
    signal?: AbortSignal,
  ): Promise<ChatResult> {
    const stream = this.#model.text.answerStream();
    const tokens = this.#generator.generate(
      this.#prompt(messages),
      sampling,
      this.#model.text.stopTokens,
      signal,
    );
    const speed = new Speed();
    let text = '';
    let probability = 1;
    const tell = (piece: string) => {
      if (piece === '') return;
      text += piece;
      onToken({ text: piece, probability });
      probability = 1;
    };
    for (;;) {
      const next = await tokens.next();
      if (next.done) {
        // Only a model that ended its answer meant to leave a character incomplete.
        if (next.value === 'end') tell(stream.end());
        return { text, stop: next.value, tokens: speed.tokens, tokensPerSecond: speed.perSecond() };
      }
      const { id, logProb } = next.value;
      this.#checkFinite(logProb);
      speed.count();
      probability *= Math.exp(logProb);
      tell(stream.push(id));
    }
  }

  /** The most likely tokens after the rendered conversation, at most 64. */
  async nextTokens(messages: readonly Message[], count: number): Promise<NextToken[]> {
    const { ids, logProbs } = await this.#generator.prompt(this.#prompt(messages));
    this.#checkFinite(logProbs[0]);
    return Array.from(ids.subarray(0, count), (id, index) => ({
      text: tokenLabel(this.#model.text.tokenizer, id),
      probability: Math.exp(logProbs[index] ?? Number.NaN),
    }));
  }

  /** Forgets what was read: the model's weights have changed. */
  forget(): void {
    this.#generator.rewind(0);
  }

  dispose(): void {
    this.#generator.dispose();
  }

  #prompt(messages: readonly Message[]): number[] {
    const prompt = this.#model.text.prompt(messages);
    if (prompt.length >= this.#generator.capacity) {
      throw new AlloyError(
        'bad-argument',
        `The conversation has ${prompt.length} tokens and leaves no room for an answer in ${this.#generator.capacity}; shorten it or start a new one.`,
      );
    }
    return prompt;
  }

  #checkFinite(logProb: number | undefined): void {
    if (logProb !== undefined && logProb <= 0.01) return;
    throw new AlloyError(
      'bad-argument',
      `${this.#model.name} gives numbers that are not finite; if merge weights were moved, reset them.`,
    );
  }
}

/** Tokens a second while writing; the time until the first one, in which the prompt is read, is left out. */
class Speed {
  tokens = 0;
  readonly #started = performance.now();
  #first = 0;
  #last = 0;

  count(): void {
    this.#last = performance.now();
    if (this.tokens === 0) this.#first = this.#last;
    this.tokens++;
  }

  perSecond(): number {
    if (this.tokens === 0) return 0;
    if (this.tokens === 1) return 1000 / (this.#last - this.#started);
    return ((this.tokens - 1) * 1000) / Math.max(this.#last - this.#first, 1e-3);
  }
}
