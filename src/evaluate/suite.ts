import {
  type BootstrapOptions,
  bootstrapInterval,
  type Interval,
  pairedDifference,
  type Unit,
} from './bootstrap.ts';

/** One model's result on one held-out conversation. */
export interface ConversationScore {
  readonly id: string;
  /** −log p of the assistant's text, end-of-turn tokens left out. */
  readonly nats: number;
  readonly bytes: number;
  /** Whether the generated answer was right; absent where the data does not say. */
  readonly right?: boolean | undefined;
}

export interface SuiteScore {
  readonly nllPerByte: number;
  readonly low: number;
  readonly high: number;
  /** Share of right answers and its interval, over the conversations that say what is right. */
  readonly accuracy?: Interval;
}

/**
 * With fewer conversations a percentile interval is too narrow to judge by: of two equal models it calls one the better
 * in an eighth of all cases at 7, in a fifth at 4, in half at 2 (normal differences, 95 %), and always at 1.
 */
const FEWEST_TO_TELL = 8;

/** Conversations of which a model scored any text: what the intervals are drawn from. */
export function countScored(scores: readonly ConversationScore[]): number {
  return scores.filter(({ bytes }) => bytes > 0).length;
}

/** Whether a suite has too few conversations to call a model better or worse; intervals are still given. */
export function tooFewToTell(conversations: number): boolean {
  return conversations < FEWEST_TO_TELL;
}

/**
 * Nats per byte over a suite (total over total, so that long answers count by their length) and accuracy, each with a
 * bootstrap interval over conversations.
 */
export function scoreSuite(scores: readonly ConversationScore[], options: BootstrapOptions): SuiteScore {
  const { value, low, high } = bootstrapInterval(likelihoods(scores), options);
  const judged = scores.filter(({ right }) => right !== undefined);
  const nll = { nllPerByte: value, low, high };
  if (judged.length === 0) return nll;
  const hits = judged.map(({ right }) => ({ numerator: right ? 1 : 0, denominator: 1 }));
  return { ...nll, accuracy: bootstrapInterval(hits, options) };
}

/** Nats per byte of `model` minus that of `baseline`, paired by conversation; below 0 is better. */
export function compareSuites(
  baseline: readonly ConversationScore[],
  model: readonly ConversationScore[],
  options: BootstrapOptions,
): Interval {
  const byId = new Map(model.map((score) => [score.id, score]));
  const both = baseline.flatMap((score) => {
    const partner = byId.get(score.id);
    return partner === undefined ? [] : [[score, partner] as const];
  });
  return pairedDifference(
    likelihoods(both.map(([first]) => first)),
    likelihoods(both.map(([, second]) => second)),
    options,
  );
}

const likelihoods = (scores: readonly ConversationScore[]): readonly Unit[] =>
  scores.map(({ nats, bytes }) => ({ numerator: nats, denominator: bytes }));
