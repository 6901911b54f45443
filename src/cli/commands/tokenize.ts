import type { OpenModel } from '../../pipeline/openModel.ts';
import { chatInput, type ModelInput, rawInput } from '../../pipeline/scoreText.ts';
import { type Command, type CommandContext, UsageError } from '../command.ts';
import { textTable } from '../table.ts';

export const tokenize: Command = {
  name: 'tokenize',
  summary: 'Show the tokens of a text',
  usage: 'tokenize MODEL --text T [--raw | --chat]',
  help: `Without --raw and --chat: the tokens of the text alone; text of special tokens becomes the token.

  --text T       the text
  --raw          as \`score --raw\` reads it: with a BOS before it where the model's sequences begin with one
  --chat         as a user's message in the model's chat template
`,
  options: { text: { type: 'string' }, raw: { type: 'boolean' }, chat: { type: 'boolean' } },
  words: [1, 1],
  async run({ args, shelf, terminal }: CommandContext) {
    const text = args.text('text');
    if (text === undefined)
      throw new UsageError('--text is missing; use it as: alloy tokenize MODEL --text T');
    if (args.flag('raw') && args.flag('chat')) throw new UsageError('give either --raw or --chat');
    const model = await shelf.open(args.word(0), terminal.folder, 'MODEL');
    const input = inputOf(model, text, args.flag('raw'), args.flag('chat'));
    const pieces = piecesOf(model, input);
    const rows = pieces.map(({ id, text: piece, start, end }) => [
      String(id),
      JSON.stringify(piece),
      start === null ? '' : `${start}–${end}`,
    ]);
    return {
      json: { text: input.text, tokens: input.ids, pieces },
      text: `${textTable(['id', 'text', 'bytes'], rows, [0])}\n\n${input.ids.length} tokens`,
    };
  },
};

function inputOf(model: OpenModel, text: string, raw: boolean, chat: boolean): ModelInput {
  if (chat) return chatInput(model, [{ role: 'user', content: text }]);
  return raw ? rawInput(model, text) : { text, ids: model.text.tokenizer.encode(text) };
}

/** What each token stands for, and where it lies in the text where the tokenizer can tell. */
function piecesOf({ text: { tokenizer } }: OpenModel, { text, ids }: ModelInput) {
  const spans = tokenizer.byteSpans(ids, text);
  const utf8 = new TextDecoder();
  return ids.map((id, index) => {
    const special = tokenizer.isSpecial(id);
    const piece = special ? tokenizer.tokenText(id) : utf8.decode(tokenizer.bytesOf(id));
    const start = spans.ok ? (spans.starts[index] ?? 0) : null;
    const end = spans.ok ? (spans.ends[index] ?? 0) : null;
    return { id, text: piece, start, end, special };
  });
}
