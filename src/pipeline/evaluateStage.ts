import { contentNll } from '../align/representation.ts';
import { judgeAnswer } from '../evaluate/answers.ts';
import {
  type ConversationScore,
  compareSuites,
  countScored,
  scoreSuite,
  tooFewToTell,
} from '../evaluate/suite.ts';
import { Generator, GREEDY } from '../models/generator.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { type RowScorer, rowScorer } from '../models/rowScorer.ts';
import { AlloyError } from '../util/errors.ts';
import type { OpenModel } from './openModel.ts';
import type { Conversation, Report, ReportRow } from './protocol.ts';
import type { Recipe } from './recipe.ts';
import { beginWork, type RunContext, StageProgress, scoreBatch } from './runContext.ts';
import type { Suite } from './runData.ts';

const VERSION = 1;

export interface EvaluatedModel {
  readonly name: string;
  readonly role: ReportRow['role'];
  /** Whose tokenizer and template are used. */
  readonly model: OpenModel;
  /** What decides its numbers; part of the artifact's key. */
  readonly identity: string;
  /** A comparison that nobody asked for: left out where there is no room for it. */
  readonly optional?: boolean;
  load(): Promise<LoadedModel>;
}

export interface ModelScores {
  readonly name: string;
  readonly suites: readonly {
    readonly suite: string;
    readonly row: ReportRow;
    readonly scores: readonly ConversationScore[];
  }[];
}

/** Scores models on held-out conversations: NLL per byte with intervals, and greedy answers where the data says what is right. */
export async function evaluateModels(
  context: RunContext,
  recipe: Recipe,
  suites: readonly Suite[],
  models: readonly EvaluatedModel[],
): Promise<ModelScores[]> {
  const results: ModelScores[] = [];
  for (const one of models) {
    const key = await context.store.key('evaluate', VERSION, {
      identity: one.identity,
      pivot: one.model.identity,
      suites: suites.map(({ suite, conversations }) => ({ suite, conversations })),
      settings: { accuracy: recipe.evaluate.accuracy, maxNewTokens: recipe.evaluate.maxNewTokens },
      maxTokens: recipe.train.maxTokens,
    });
    let scores = await context.store.readJson<ConversationScore[][]>('evaluate', key);
    if (scores) context.onEvent({ kind: 'stage', stage: 'evaluate', label: one.name, cached: true });
    else {
      beginWork(context);
      scores = await scoreModel(context, recipe, suites, one).catch((error: unknown) => {
        if (!one.optional || !(error instanceof AlloyError && error.code === 'out-of-memory')) throw error;
        context.onEvent({ kind: 'note', text: `${one.name} is left out: there is no memory for it.` });
        return undefined;
      });
      if (!scores) continue;
      await context.store.writeJson('evaluate', key, scores);
    }
    results.push(summarise(recipe, suites, one, scores));
  }
  return results;
}

/** The rows of every suite, each beside the first control (SFT-only). */
export function reportSuites(
  recipe: Recipe,
  suites: readonly Suite[],
  scores: readonly ModelScores[],
): Report['suites'] {
  const options = { resamples: recipe.evaluate.bootstrap, seed: recipe.seed };
  return suites.map(({ suite }) => {
    const found = scores.flatMap((score) => score.suites.filter((one) => one.suite === suite));
    const baseline = found.find(({ row }) => row.role === 'sft');
    const rows = found.map((one) =>
      baseline === undefined || one === baseline
        ? one.row
        : { ...one.row, difference: compareSuites(baseline.scores, one.scores, options) },
    );
    const conversations = countScored((baseline ?? found[0])?.scores ?? []);
    return { suite, conversations, tooFew: tooFewToTell(conversations), rows };
  });
}

function summarise(
  recipe: Recipe,
  suites: readonly Suite[],
  one: EvaluatedModel,
  scores: readonly (readonly ConversationScore[])[],
): ModelScores {
  const options = { resamples: recipe.evaluate.bootstrap, seed: recipe.seed };
  const rows = suites.map(({ suite }, index) => {
    const list = scores[index] ?? [];
    if (countScored(list) === 0) {
      throw new AlloyError(
        'bad-data',
        `Of ${suite}, no held-out answer begins within train.maxTokens (${recipe.train.maxTokens}) tokens of ${one.name}; raise it, or give shorter conversations.`,
      );
    }
    const { nllPerByte, low, high, accuracy } = scoreSuite(list, options);
    const row: ReportRow = {
      model: one.name,
      role: one.role,
      nllPerByte,
      low,
      high,
      ...(accuracy && { accuracy: accuracy.value }),
    };
    return { suite, row, scores: list };
  });
  return { name: one.name, suites: rows };
}

async function scoreModel(
  context: RunContext,
  recipe: Recipe,
  suites: readonly Suite[],
  one: EvaluatedModel,
): Promise<ConversationScore[][]> {
  const all = suites.flatMap(({ conversations }) => conversations);
  // A frozen model gives rows and writes no answers.
  const answers = recipe.evaluate.accuracy && one.model.onnx === undefined;
  const judge = answers && all.some((conversation) => expected(conversation) !== undefined);
  const progress = new StageProgress(context, 'evaluate', one.name, (judge ? 2 : 1) * all.length);
  const loaded = await one.load();
  const scorer = rowScorer(context.device, loaded, { topK: 1, ...scoreBatch(context) });
  const { device } = context;
  let generator: Generator | undefined;
  try {
    if (judge) {
      const capacity = recipe.train.maxTokens + recipe.evaluate.maxNewTokens;
      generator = device.allOrNothing(
        () => new Generator(device, loaded.config, loaded.weights, { capacity }),
      );
      await device.settled();
    }
    const likelihoods = await scoreTexts(scorer, one.model, all, recipe.train.maxTokens, (done) =>
      progress.update(done),
    );
    const scores: ConversationScore[] = [];
    for (const [index, conversation] of all.entries()) {
      const right = generator && (await judgeOne(generator, one.model, conversation, recipe));
      const { nats = 0, bytes = 0 } = likelihoods[index] ?? {};
      scores.push({ id: conversation.id, nats, bytes, ...(right !== undefined && { right }) });
      if (judge) await progress.update(all.length + index + 1);
    }
    let at = 0;
    return suites.map(({ conversations }) => {
      at += conversations.length;
      return scores.slice(at - conversations.length, at);
    });
  } finally {
    generator?.dispose();
    scorer.dispose();
    if (one.role !== 'pivot' && one.role !== 'source') loaded.dispose();
  }
}

/** The reference answer, where the data says what is right. */
function expected(conversation: Conversation): string | undefined {
  const last = conversation.messages.findLast(({ role }) => role === 'assistant')?.content;
  return last !== undefined && judgeAnswer(last, last, conversation.accept) !== undefined ? last : undefined;
}

async function judgeOne(
  generator: Generator,
  model: OpenModel,
  conversation: Conversation,
  recipe: Recipe,
): Promise<boolean | undefined> {
  const reference = expected(conversation);
  if (reference === undefined) return undefined;
  const lastAnswer = conversation.messages.findLastIndex(({ role }) => role === 'assistant');
  const prompt = model.text.prompt(conversation.messages.slice(0, lastAnswer));
  if (prompt.length >= generator.capacity) return false;
  const stream = model.text.answerStream();
  let answer = '';
  const sampling = { ...GREEDY, maxNewTokens: recipe.evaluate.maxNewTokens };
  for await (const { id } of generator.generate(prompt, sampling, model.text.stopTokens))
    answer += stream.push(id);
  return judgeAnswer(answer + stream.end(), reference, conversation.accept);
}

/** Likelihood of the assistant's text of every conversation, in their order. */
export async function scoreTexts(
  scorer: RowScorer,
  model: OpenModel,
  conversations: readonly Conversation[],
  maxTokens: number,
  between: (done: number) => Promise<void>,
): Promise<{ nats: number; bytes: number }[]> {
  const queue = conversations
    .map(({ id, messages }, index) => ({ id, index, ...model.text.encode(messages, maxTokens) }))
    .sort((a, b) => b.tokens.length - a.tokens.length || a.index - b.index);
  const results = new Array<{ nats: number; bytes: number }>(conversations.length);
  for (let from = 0; from < queue.length; ) {
    const batch = queue.slice(from, from + scorer.batchFor(queue[from]?.tokens.length ?? 1));
    const rows = await scorer.score(batch.map(({ tokens }) => tokens));
    batch.forEach(({ index, ...one }, place) => {
      const row = rows[place];
      if (row) results[index] = contentNll({ ...one, topK: 1, ...row });
    });
    from += batch.length;
    await between(from);
  }
  return results;
}
