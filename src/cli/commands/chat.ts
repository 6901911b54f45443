import { createInterface } from 'node:readline/promises';
import { Answerer } from '../../pipeline/answer.ts';
import { guardModel } from '../../pipeline/memoryGuard.ts';
import { loadAny } from '../../pipeline/mergedModel.ts';
import type { ChatResult, Message, Sampling } from '../../pipeline/protocol.ts';
import { AlloyError } from '../../util/errors.ts';
import { type Command, type CommandContext, UsageError } from '../command.ts';
import { memoryLimit } from '../memoryOption.ts';

const DEFAULTS = { temperature: 0.7, topK: 40, topP: 0.95, seed: 42, maxNewTokens: 256, context: 2048 };

export const chat: Command = {
  name: 'chat',
  summary: 'Talk with a model',
  usage: 'chat MODEL [--prompt P] [--system S] [OPTIONS]',
  help: `Without --prompt it reads messages line by line; /reset starts a new conversation, /exit ends.

  --prompt P             answer this message and end
  --system S             a system message before everything
  --temperature X        0 is greedy (default ${DEFAULTS.temperature})
  --top-k N              sample among the N most likely tokens; 0: all that are kept (default ${DEFAULTS.topK})
  --top-p X              and among the most likely that have this probability together (default ${DEFAULTS.topP})
  --seed N               same seed, same answer (default ${DEFAULTS.seed})
  --max-new-tokens N     longest answer (default ${DEFAULTS.maxNewTokens})
  --memory SIZE          what it may take on the device, e.g. 1.5GB
  --context N            tokens of a whole conversation (default ${DEFAULTS.context}, at most the model's own)
`,
  options: {
    prompt: { type: 'string' },
    system: { type: 'string' },
    temperature: { type: 'string' },
    'top-k': { type: 'string' },
    'top-p': { type: 'string' },
    seed: { type: 'string' },
    'max-new-tokens': { type: 'string' },
    context: { type: 'string' },
    memory: { type: 'string' },
  },
  opensDevice: true,
  words: [1, 1],
  async run(context) {
    const { args, shelf, terminal, json } = context;
    const sampling = samplingOf(context);
    const capacity = args.number('context', { least: 2, whole: true }) ?? DEFAULTS.context;
    const prompt = args.text('prompt');
    if (json && prompt === undefined) throw new UsageError('--json needs --prompt; give the message with it');
    if (prompt === '') throw new AlloyError('bad-argument', '--prompt is empty; give a message.');
    const model = await shelf.open(args.word(0), terminal.folder, 'MODEL');
    const device = await context.device();
    const tokens = Math.min(capacity, model.config.maxPositions);
    await guardModel(device, model, { capacity: tokens }, memoryLimit(args));
    const loaded = await loadAny(device, model);
    const answerer = new Answerer(device, model, loaded, capacity);
    const system = args.text('system');
    const start: Message[] = system === undefined ? [] : [{ role: 'system', content: system }];
    try {
      if (prompt === undefined) {
        await converse(context, answerer, start, sampling);
        return undefined;
      }
      const messages: Message[] = [...start, { role: 'user', content: prompt }];
      const result = await stream(context, answerer, messages, sampling);
      if (result.stop === 'interrupted') throw new AlloyError('cancelled', 'The answer was stopped.');
      if (!json) terminal.out('\n');
      return json ? { json: { model: model.name, ...result }, text: '' } : undefined;
    } finally {
      answerer.dispose();
      loaded.dispose();
    }
  },
};

function samplingOf({ args }: CommandContext): Sampling {
  const whole = (name: string, otherwise: number, least = 0) =>
    args.number(name, { least, whole: true }) ?? otherwise;
  return {
    temperature: args.number('temperature', { least: 0 }) ?? DEFAULTS.temperature,
    topK: whole('top-k', DEFAULTS.topK),
    topP: args.number('top-p', { least: 0, most: 1 }) ?? DEFAULTS.topP,
    seed: whole('seed', DEFAULTS.seed),
    maxNewTokens: whole('max-new-tokens', DEFAULTS.maxNewTokens, 1),
  };
}

/** Writes an answer as it comes; Ctrl-C stops it. */
async function stream(
  { terminal, json }: CommandContext,
  answerer: Answerer,
  messages: readonly Message[],
  sampling: Sampling,
): Promise<ChatResult> {
  const abort = new AbortController();
  const release = terminal.onInterrupt(() => abort.abort());
  try {
    const onToken = ({ text }: { text: string }) => {
      if (!json) terminal.out(text);
    };
    return await answerer.answer(messages, sampling, onToken, abort.signal);
  } finally {
    release();
  }
}

/** Messages from the keyboard, or line by line from a pipe. */
async function converse(
  context: CommandContext,
  answerer: Answerer,
  start: readonly Message[],
  sampling: Sampling,
): Promise<void> {
  const { terminal } = context;
  const asks = terminal.input.isTTY === true;
  const lines = createInterface({ input: terminal.input, terminal: false });
  const prompt = () => {
    if (asks) terminal.err('\n› ');
  };
  let messages = [...start];
  if (asks) terminal.err('Type a message; /reset starts anew, /exit ends.\n');
  prompt();
  for await (const line of lines) {
    const content = line.trim();
    if (content === '/exit' || content === '/quit') break;
    if (content === '/reset') {
      messages = [...start];
      if (asks) terminal.err('A new conversation.\n');
    } else if (content !== '') {
      messages = await exchange(context, answerer, [...messages, { role: 'user', content }], sampling);
    }
    prompt();
  }
  lines.close();
}

/** @returns the conversation with the answer, or as it was where the model could not answer */
async function exchange(
  context: CommandContext,
  answerer: Answerer,
  messages: Message[],
  sampling: Sampling,
): Promise<Message[]> {
  const { terminal } = context;
  try {
    const { text } = await stream(context, answerer, messages, sampling);
    terminal.out('\n');
    return [...messages, { role: 'assistant', content: text }];
  } catch (error) {
    if (!(error instanceof AlloyError && error.code === 'bad-argument')) throw error;
    terminal.err(`alloy: ${error.message} (/reset starts a new conversation)\n`);
    return messages.slice(0, -1);
  }
}
