import { AlloyError } from '../util/errors.ts';
import { shuffle } from '../util/random.ts';

export interface LearningRateSchedule {
  /** The highest rate, reached at the end of the warm-up. */
  readonly peak: number;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Share of the steps that warm up, 0…1. */
  readonly warmup: number;
}

/**
 * Linear warm-up, then half a cosine towards 0 (methods J25). Step 0 already has a rate above 0, and so does the last
 * one: neither is wasted in a run of a few tens of steps.
 *
 * @param step counted from 0.
 */
export function learningRate(step: number, { peak, steps, warmup }: LearningRateSchedule): number {
  const warm = Math.min(steps, Math.ceil(warmup * steps));
  if (step < warm) return (peak * (step + 1)) / warm;
  const rest = Math.max(1, steps - warm);
  return (peak / 2) * (1 + Math.cos((Math.PI * Math.min(step - warm, rest)) / rest));
}

export interface DataOrder {
  /** Conversations to train on. */
  readonly conversations: number;
  /** Conversations in one optimizer step. */
  readonly batch: number;
  readonly seed: number;
}

/**
 * How many optimizer steps a run has: `steps` if told, else enough for `epochs` passes over the data.
 * @throws AlloyError `bad-data` where there is nothing to train on.
 */
export function stepCount(
  order: Pick<DataOrder, 'conversations' | 'batch'>,
  told: { readonly epochs: number; readonly steps?: number | undefined },
): number {
  if (order.conversations === 0) {
    throw new AlloyError(
      'bad-data',
      'No conversation is left to train on; give training data with answers that fit into train.maxTokens.',
    );
  }
  return told.steps ?? Math.max(1, Math.ceil((told.epochs * order.conversations) / order.batch));
}

/**
 * The conversations of each optimizer step. Epochs follow one another without a seam: every epoch is a new shuffle,
 * every step takes the next `batch` of them, so all batches are full and the order depends on the seed and the step
 * alone; a run resumes from a step number.
 */
export class BatchOrder {
  readonly #order: DataOrder;
  readonly #epochs = new Map<number, readonly number[]>();

  constructor(order: DataOrder) {
    this.#order = order;
  }

  /** Indices of the conversations of a step, [batch]. */
  at(step: number): Uint32Array {
    const { batch, conversations } = this.#order;
    return Uint32Array.from({ length: batch }, (_, place) => {
      const position = step * batch + place;
      return this.#epoch(Math.floor(position / conversations))[position % conversations] ?? 0;
    });
  }

  #epoch(epoch: number): readonly number[] {
    const known = this.#epochs.get(epoch);
    if (known !== undefined) return known;
    const permutation = shuffle(
      [...Array(this.#order.conversations).keys()],
      this.#order.seed,
      `distill.order/${epoch}`,
    );
    for (const old of this.#epochs.keys()) if (old < epoch - 1) this.#epochs.delete(old);
    this.#epochs.set(epoch, permutation);
    return permutation;
  }
}

/**
 * Cuts a step's conversations into micro-batches of similar length, longest first, so that little of them is padding.
 * @param lengths tokens of each conversation, by index.
 */
export function microBatches(
  batch: Uint32Array,
  lengths: ArrayLike<number>,
  size: number,
): readonly Uint32Array[] {
  const sorted = [...batch].sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0) || a - b);
  const groups: Uint32Array[] = [];
  for (let start = 0; start < sorted.length; start += size) {
    groups.push(Uint32Array.from(sorted.slice(start, start + size)));
  }
  return groups;
}
