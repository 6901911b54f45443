import { contentNll } from '../align/representation.ts';
import type { Device } from '../device/device.ts';
import { encodePrompt, encodeWithBos } from '../models/chatTemplateTokens.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { type RowScorer, rowScorer } from '../models/rowScorer.ts';
import { bucketLength, type ScoredRows } from '../models/scorer.ts';
import type { Tokenizer } from '../models/tokenizer.ts';
import { AlloyError, required } from '../util/errors.ts';
import { checkLogProbs, type OpenModel } from './openModel.ts';
import type { Message } from './protocol.ts';

/** The most likely next tokens after one token, most likely first, with natural log-probabilities. */
export interface ScoreRow {
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
}

/** Likelihood of a text under a model. */
export interface TextScore {
  readonly tokens: readonly number[];
  /** −Σ log p of the counted tokens, nats. */
  readonly nll: number;
  readonly bytes: number;
  /** Null where there is nothing to divide by. */
  readonly nllPerByte: number | null;
  /** One a token: what comes after it. */
  readonly rows: readonly ScoreRow[];
}

/** A text as one model reads it. */
export interface ModelInput {
  readonly text: string;
  readonly ids: readonly number[];
}

/** The text as it is, special tokens in it parsed, BOS before it where the model's sequences begin with one. */
export function rawInput({ text: { tokenizer } }: OpenModel, text: string): ModelInput {
  return { text, ids: encodeWithBos(tokenizer, text) };
}

/** Messages in the model's template with the opening of an answer at the end. */
export function chatInput({ text: { tokenizer } }: OpenModel, messages: readonly Message[]): ModelInput {
  return encodePrompt(tokenizer, null, messages);
}

/** Texts are scored one by one: a batch would only be padding. */
const ONE_AT_A_TIME = { batchTokens: 1 };

/** What scoring texts of so many tokens is going to use of a model. */
export function textUse(lengths: readonly number[], topK: number) {
  const longestFirst = [...new Set(lengths.map(bucketLength))].sort((a, b) => b - a);
  return { score: { lengths: longestFirst, topK, ...ONE_AT_A_TIME } };
}

/** Scores texts and conversations with one model. */
export class TextScorer {
  readonly #model: OpenModel;
  readonly #scorer: RowScorer;

  /** @param topK entries of every row, 1 to 64 */
  constructor(device: Device, model: OpenModel, loaded: LoadedModel, topK: number) {
    this.#model = model;
    this.#scorer = rowScorer(device, loaded, { topK, ...ONE_AT_A_TIME });
  }

  /**
   * Every token but the first counts, special tokens too; bytes are those of the text behind the first token.
   * @throws AlloyError `bad-argument` for an empty text or one beyond the model's context
   */
  async text({ text, ids }: ModelInput): Promise<TextScore> {
    const rows = await this.#rows(ids, 'The text');
    let nll = 0;
    for (let row = 0; row + 1 < ids.length; row++) nll -= rows.labelLogProb[row] ?? Number.NaN;
    return score(ids, rows, nll, bytesAfterFirst(this.#model.text.tokenizer, ids, text));
  }

  /** Only what the assistant says counts, end-of-turn tokens left out: the measure of a fusion's report. */
  async conversation(id: string, messages: readonly Message[], maxTokens: number): Promise<TextScore> {
    const placed = this.#model.text.encode(messages, maxTokens);
    const rows = await this.#rows(placed.tokens, `The conversation ${id}`);
    const topK = rows.topIds.length / Math.max(1, placed.tokens.length);
    const { nats, bytes } = contentNll({ id, ...placed, topK, ...rows });
    return score(placed.tokens, rows, nats, bytes);
  }

  dispose(): void {
    this.#scorer.dispose();
  }

  async #rows(ids: ArrayLike<number>, what: string): Promise<ScoredRows> {
    const { maxPositions } = this.#model.config;
    if (ids.length === 0) throw new AlloyError('bad-argument', `${what} has no tokens; give some text.`);
    if (ids.length > maxPositions) {
      throw new AlloyError(
        'bad-argument',
        `${what} has ${ids.length} tokens but the context of ${this.#model.name} holds ${maxPositions}; shorten it.`,
      );
    }
    const [first] = await this.#scorer.score([ids]);
    const rows = required(first, 'rows');
    checkLogProbs(this.#model, rows.labelLogProb.subarray(0, ids.length - 1));
    return rows;
  }
}

/** Sums of several scores. */
export function totalScore(scores: readonly TextScore[]): Pick<TextScore, 'nll' | 'bytes' | 'nllPerByte'> {
  const nll = scores.reduce((sum, one) => sum + one.nll, 0);
  const bytes = scores.reduce((sum, one) => sum + one.bytes, 0);
  return { nll, bytes, nllPerByte: bytes > 0 ? nll / bytes : null };
}

function score(ids: ArrayLike<number>, rows: ScoredRows, nll: number, bytes: number): TextScore {
  const kept = rows.topIds.length / ids.length;
  return {
    tokens: Array.from(ids),
    nll,
    bytes,
    nllPerByte: bytes > 0 ? nll / bytes : null,
    rows: Array.from(ids, (_, row) => ({
      ids: [...rows.topIds.subarray(row * kept, (row + 1) * kept)],
      logProbs: [...rows.topLogProbs.subarray(row * kept, (row + 1) * kept)],
    })),
  };
}

/** UTF-8 bytes behind the first token; all of them where that is a BOS that was put before the text. */
function bytesAfterFirst(tokenizer: Tokenizer, ids: readonly number[], text: string): number {
  const all = new TextEncoder().encode(text).length;
  const spans = tokenizer.byteSpans(ids, text);
  if (spans.ok) return all - (spans.ends[0] ?? 0);
  // A tokenizer that does not give the text back: its first token's own bytes are the best guess.
  const [first = 0] = ids;
  const own = tokenizer.isSpecial(first) ? tokenizer.tokenText(first) : '';
  if (own !== '') return text.startsWith(own) ? all - new TextEncoder().encode(own).length : all;
  return Math.max(0, all - tokenizer.bytesOf(first).length);
}
