import { resolve } from 'node:path';
import { parseConversations } from '../../pipeline/conversations.ts';
import { guardModel } from '../../pipeline/memoryGuard.ts';
import { loadAny } from '../../pipeline/mergedModel.ts';
import type { OpenModel } from '../../pipeline/openModel.ts';
import {
  chatInput,
  rawInput,
  type TextScore,
  TextScorer,
  textUse,
  totalScore,
} from '../../pipeline/scoreText.ts';
import { AlloyError } from '../../util/errors.ts';
import { TimeLeft } from '../../util/timeLeft.ts';
import { type Command, type CommandContext, type CommandResult, UsageError } from '../command.ts';
import { memoryLimit } from '../memoryOption.ts';
import { readTextFile } from '../recipeRun.ts';
import { textTable } from '../table.ts';

const ROWS = 10;
const MOST_ROWS = 64;

export const score: Command = {
  name: 'score',
  summary: 'Log-likelihood of a text or of conversations under a model',
  usage: 'score MODEL (--text T | --data F.jsonl) [--raw] [--top K]',
  help: `  --text T       a text: every token but the first counts, special tokens too
  --data F       conversations, a JSON line each ({"id", "messages"}): what the assistant says counts;
                 with --raw, texts, a JSON line each ({"text", "id"?})
  --raw          take the text as it is, special tokens in it parsed;
                 otherwise it is a user's message in the model's chat template
  --memory SIZE  what it may take on the device, e.g. 1.5GB
  --top K        entries of the rows of next tokens, 1 to ${MOST_ROWS} (default ${ROWS}; with --data no rows)
`,
  options: {
    text: { type: 'string' },
    data: { type: 'string' },
    raw: { type: 'boolean' },
    top: { type: 'string' },
    memory: { type: 'string' },
  },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, shelf, terminal } = context;
    const [text, data] = [args.text('text'), args.text('data')];
    const top = args.number('top', { least: 1, most: MOST_ROWS, whole: true });
    if ((text === undefined) === (data === undefined))
      throw new UsageError('give either --text T or --data F; use it as: alloy score MODEL --text T');
    const model = await shelf.open(args.word(0), terminal.folder, 'MODEL');
    const jobs =
      data === undefined
        ? [textJob(model, 'text', text ?? '', args.flag('raw'))]
        : await dataJobs(context, model, data);
    if (text === '') throw new AlloyError('bad-argument', '--text is empty; give some text.');
    const device = await context.device();
    const topK = top ?? (data === undefined ? ROWS : 1);
    // Longer texts are refused when their turn comes.
    const fitting = jobs.map(({ tokens }) => tokens).filter((tokens) => tokens <= model.config.maxPositions);
    await guardModel(device, model, textUse(fitting, topK), memoryLimit(args));
    const loaded = await loadAny(device, model);
    if (loaded.frozen) context.progress.note(loaded.frozen.status);
    const scorer = new TextScorer(device, model, loaded, topK);
    try {
      const scores: { id: string; score: TextScore }[] = [];
      const clock = new TimeLeft(jobs.length);
      for (const { id, run } of jobs) {
        scores.push({ id, score: await run(scorer) });
        const left = clock.update(scores.length);
        if (jobs.length > 1)
          context.progress.update(`Scoring with ${model.name}`, scores.length, jobs.length, left);
      }
      const [only] = scores;
      if (data === undefined && only) return textResult(model, only.score);
      return dataResult(scores, top !== undefined);
    } finally {
      scorer.dispose();
      loaded.dispose();
    }
  },
};

interface Job {
  readonly id: string;
  readonly tokens: number;
  run(scorer: TextScorer): Promise<TextScore>;
}

function textJob(model: OpenModel, id: string, text: string, raw: boolean): Job {
  const input = raw ? rawInput(model, text) : chatInput(model, [{ role: 'user', content: text }]);
  return { id, tokens: input.ids.length, run: (scorer) => scorer.text(input) };
}

async function dataJobs({ args, terminal }: CommandContext, model: OpenModel, data: string): Promise<Job[]> {
  const content = await readTextFile(resolve(terminal.folder, data), data, 'give a file of JSON lines');
  if (args.flag('raw')) {
    return parseTexts(content, data).map(({ id, text }) => textJob(model, id, text, true));
  }
  const { maxPositions } = model.config;
  return parseConversations(content, data).map(({ id, messages }) => ({
    id,
    tokens: model.text.encode(messages, maxPositions).tokens.length,
    run: (scorer) => scorer.conversation(id, messages, maxPositions),
  }));
}

/** @throws AlloyError `bad-data` naming the line */
function parseTexts(content: string, file: string): { id: string; text: string }[] {
  const texts = content
    .replace(/^\uFEFF/u, '')
    .split('\n')
    .flatMap((line, index) => {
      if (line.trim() === '') return [];
      const fail = (what: string) => new AlloyError('bad-data', `${file}, line ${index + 1}: ${what}.`);
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        throw fail('is not JSON; give one JSON object a line');
      }
      const { id, text } = (typeof value === 'object' && value !== null ? value : {}) as Record<
        string,
        unknown
      >;
      if (typeof text !== 'string' || text === '')
        throw fail('has no "text"; with --raw give {"text": "…"} on every line');
      return [{ id: typeof id === 'string' ? id : String(index + 1), text }];
    });
  if (texts.length === 0)
    throw new AlloyError('bad-data', `${file} holds no text; give one JSON object a line.`);
  return texts;
}

function textResult(model: OpenModel, one: TextScore): CommandResult {
  const { tokenizer } = model.text;
  const show = (id: number) =>
    JSON.stringify(
      tokenizer.isSpecial(id) ? tokenizer.tokenText(id) : tokenizer.decode([id], { start: false }),
    );
  const rows = one.rows.map(({ ids, logProbs }, row) => [
    show(one.tokens[row] ?? 0),
    ids
      .slice(0, 4)
      .map((id, entry) => `${show(id)} ${(100 * Math.exp(logProbs[entry] ?? 0)).toFixed(1)} %`)
      .join('  '),
  ]);
  const { tokens, nll, bytes, nllPerByte, rows: all } = one;
  return {
    json: { tokens, nll, bytes, nllPerByte, rows: all },
    text: `${textTable(['after', 'most likely next'], rows)}\n\n${summary(one, `${tokens.length} tokens`)}`,
  };
}

function dataResult(scores: readonly { id: string; score: TextScore }[], withRows: boolean): CommandResult {
  const total = totalScore(scores.map(({ score: one }) => one));
  const conversations = scores.map(({ id, score: { rows, ...rest } }) => ({
    id,
    ...rest,
    ...(withRows && { rows }),
  }));
  const lines = scores.map(({ id, score: one }) => [
    id,
    String(one.tokens.length),
    String(one.bytes),
    one.nll.toFixed(3),
    one.nllPerByte?.toFixed(4) ?? '–',
  ]);
  return {
    json: { ...total, conversations },
    text: `${textTable(['id', 'tokens', 'bytes', 'NLL', 'per byte'], lines, [1, 2, 3, 4])}\n\n${summary(total, `${scores.length} entries`)}`,
  };
}

function summary({ nll, bytes, nllPerByte }: Omit<TextScore, 'tokens' | 'rows'>, count: string): string {
  const perByte = nllPerByte === null ? '' : `, ${nllPerByte.toFixed(4)} nats per byte`;
  return `${count}, NLL ${nll.toFixed(3)} nats over ${bytes} bytes${perByte}`;
}
