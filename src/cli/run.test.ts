import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AlloyError, type ErrorCode } from '../util/errors.ts';
import { UsageError } from './command.ts';
import { COMMANDS } from './commands.ts';
import { EXIT_CODES, exitCode } from './exitCode.ts';
import { runCli } from './run.ts';
import { fakeTerminal, variable, writeConversations, writeModel } from './testing.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-cli-'));
  writeModel(join(folder, 'tiny'), { family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  mkdirSync(join(folder, 'builtin'));
  writeModel(join(folder, 'builtin', 'small'), { family: 'qwen2', merges: [], seed: 2 });
  const card = {
    name: 'small-one',
    title: 'Small',
    role: 'pivot',
    file: 'small',
    bytes: 1,
    sha256: '',
    parameters: 2e6,
  };
  const more = {
    family: 'qwen2',
    vocab: 259,
    context: 256,
    knows: ['colors'],
    scores: { colors: 0.5 },
    licence: 'x',
  };
  writeFileSync(join(folder, 'builtin', 'index.json'), JSON.stringify([{ ...card, ...more }]));
  writeConversations(join(folder, 'two.jsonl'), 2);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function alloy(...argv: string[]) {
  const terminal = fakeTerminal(folder);
  const code = await runCli(argv, terminal, { builtinFolder: join(folder, 'builtin') });
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

async function json<T>(...argv: string[]): Promise<T> {
  const { code, stdout, stderr } = await alloy(...argv, '--json');
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  // One document and nothing else.
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  return JSON.parse(stdout) as T;
}

interface Score {
  tokens: number[];
  nll: number;
  bytes: number;
  nllPerByte: number | null;
  rows: { ids: number[]; logProbs: number[] }[];
}

describe('help', () => {
  test('names every command', async () => {
    const { code, stdout } = await alloy('help');
    expect(code).toBe(0);
    for (const { name } of COMMANDS) expect(stdout).toContain(`  ${name} `);
  });

  test.each(COMMANDS.map(({ name }) => name))('of %s names its options', async (name) => {
    const { code, stdout } = await alloy('help', name);
    expect(code).toBe(0);
    const options = Object.keys(COMMANDS.find((one) => one.name === name)!.options);
    for (const option of options) expect(stdout).toContain(`--${option}`);
    expect((await alloy(name, '--help')).stdout).toBe(stdout);
  });
});

describe('exit codes', () => {
  test('of wrong usage', async () => {
    for (const argv of [
      [],
      ['nope'],
      ['score', 'tiny'],
      ['tokenize', 'tiny'],
      ['score', 'tiny', '--txt', 'x'],
    ]) {
      const { code, stdout, stderr } = await alloy(...argv);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^alloy: /u);
    }
  });

  test('of every kind of error', () => {
    expect(exitCode(new UsageError('x'))).toBe(2);
    for (const code of Object.keys(EXIT_CODES) as ErrorCode[])
      expect(exitCode(new AlloyError(code, 'x'))).toBe(EXIT_CODES[code]);
    expect(exitCode(new AlloyError('cancelled', 'x'))).toBe(130);
    expect(exitCode(new RangeError('Array buffer allocation failed'))).toBe(5);
    expect(exitCode(new TypeError('x'))).toBe(1);
  });

  test.each<[string, string[], RegExp]>([
    ['a model that is not there', ['score', 'nothing', '--text', 'x'], /no model "nothing".*small-one/u],
    [
      'a model of the hub that is not here',
      ['score', 'hub:a/b', '--text', 'x', '--offline'],
      /a\/b at main was never got/u,
    ],
    ['a folder that is no model', ['score', '.', '--text', 'x'], /neither a model nor a finished run/u],
    ['one file of a folder', ['score', 'tiny/model.safetensors', '--text', 'x'], /give its folder, tiny/u],
    ['a file that is no model', ['score', 'two.jsonl', '--text', 'x'], /two\.jsonl is no GGUF file/u],
    ['data that is not there', ['score', 'tiny', '--data', 'x.jsonl'], /x\.jsonl: there is no such file/u],
    ['a folder as data', ['score', 'tiny', '--data', 'tiny'], /tiny is a folder/u],
    ['an empty text', ['score', 'tiny', '--text', ''], /--text is empty/u],
    ['a folder as recipe', ['fuse', 'tiny'], /tiny is a folder; give the recipe/u],
    ['a recipe that is not there', ['fuse', 'no.yaml'], /no\.yaml: there is no such file/u],
    ['a model as run', ['merge', 'tiny', '--method', 'linear'], /tiny is no run/u],
    ['results in a file', ['export', 'tiny', '--out', 'two.jsonl/x'], /two\.jsonl is a file/u],
  ])('%s is bad input, one sentence', async (_what, argv, message) => {
    const { code, stdout, stderr } = await alloy(...argv);
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test.each<[string, string, RegExp]>([
    ['empty', '', /empty; see/u],
    ['not a recipe', '- a\n', /not a list of named fields/u],
    ['not YAML', 'name: [a\n', /line 2, column 1/u],
    ['of unknown keys', recipe({ foo: 1, train: { rang: 3 } }), /rang.*foo|foo.*rang/u],
    ['of a wrong type', recipe({ train: { steps: 'many' } }), /train\.steps: .*number/u],
    [
      'with too many weights',
      recipe({ merge: { method: 'linear', weights: [1, 2] } }),
      /merge\.weights: 2 numbers/u,
    ],
    ['without data', recipe({ data: undefined }), /data/u],
    ['of a pivot that is not there', recipe({ pivot: 'no' }), /bad\.yaml: there is no model "no"/u],
    ['with a variable that is not set', recipe({ pivot: `${variable('NOWHERE')}/x` }), /NOWHERE is not set/u],
  ])('a recipe that is %s', async (_what, text, message) => {
    writeFileSync(join(folder, 'bad.yaml'), text);
    const { code, stderr } = await alloy('fuse', 'bad.yaml', '--out', 'never');
    expect(code).toBe(3);
    expect(stderr).toMatch(message);
    expect(stderr).toContain('bad.yaml');
    expect(readdirSync(folder)).not.toContain('never');
  });

  test.each<[string, string]>([
    ['cut', '{"id": "a", "messages": [{"role": "user"'],
    ['of a wrong role', '{"id": "a", "messages": [{"role": "bot", "content": "x"}]}'],
    ['empty', ''],
  ])('a data line that is %s', async (_what, line) => {
    writeFileSync(join(folder, 'bad.jsonl'), line);
    const { code, stderr } = await alloy('score', 'tiny', '--data', 'bad.jsonl');
    expect(code).toBe(3);
    expect(stderr).toMatch(/bad\.jsonl/u);
  });
});

function recipe(changes: Record<string, unknown>): string {
  const data = { train: ['two.jsonl'], heldout: ['two.jsonl'] };
  return JSON.stringify({ name: 'bad', pivot: 'tiny', sources: ['small-one'], data, ...changes });
}

describe('models', () => {
  test('lists what the index has', async () => {
    expect(await json<{ name: string }[]>('models')).toMatchObject([{ name: 'small-one', family: 'qwen2' }]);
    expect((await alloy('models')).stdout).toMatch(/small-one.*2\.0 M.*colors 50 %/u);
  });
});

describe('tokenize', () => {
  test('gives ids, pieces and where they stand', async () => {
    const found = await json<{ tokens: number[]; pieces: { text: string; start: number; end: number }[] }>(
      'tokenize',
      'tiny',
      '--text',
      'the ä<|im_end|>',
    );
    expect(found.tokens).toEqual([257, 32, 0xc3, 0xa4, 260]);
    expect(found.pieces.map(({ text }) => text).at(-1)).toBe('<|im_end|>');
    expect(found.pieces.map(({ end }) => end)).toEqual([3, 4, 5, 6, 16]);
  });

  test('--chat writes the template', async () => {
    const { text } = await json<{ text: string }>('tokenize', 'small-one', '--text', 'Hi', '--chat');
    expect(text).toBe('<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n');
  });
});

describe('score', () => {
  test('--raw takes the text as it is', async () => {
    const score = await json<Score>('score', 'tiny', '--text', 'the the', '--raw', '--top', '64');
    expect(Object.keys(score)).toEqual(['tokens', 'nll', 'bytes', 'nllPerByte', 'rows']);
    expect(score.tokens).toEqual([257, 32, 257]);
    // Behind the first token, which has three bytes.
    expect(score.bytes).toBe(4);
    expect(score.nllPerByte).toBeCloseTo(score.nll / 4, 6);
    expect(score.rows).toHaveLength(3);
    for (const { ids, logProbs } of score.rows) {
      expect([ids.length, logProbs.length]).toEqual([64, 64]);
      expect([...logProbs].sort((a, b) => b - a)).toEqual(logProbs);
      expect(logProbs.reduce((sum, value) => sum + Math.exp(value), 0)).toBeLessThanOrEqual(1.00001);
    }
  });

  test('NLL is the sum over all tokens but the first', async () => {
    // Continuations that the rows name, so that the sum can be made from them.
    const start = await json<Score>('score', 'tiny', '--text', 'a', '--raw', '--top', '64');
    expect([start.nll, start.bytes, start.nllPerByte]).toEqual([0, 0, null]);
    const row = start.rows[0]!;
    const place = row.ids.findIndex((id) => id > 32 && id < 127);
    const letter = String.fromCodePoint(row.ids[place]!);
    const score = await json<Score>('score', 'tiny', '--text', `a${letter}`, '--raw');
    expect(score.nll).toBeCloseTo(-row.logProbs[place]!, 4);
    expect(score.rows[0]!.ids).toHaveLength(10);
  });

  test('without --raw the text is a message', async () => {
    const score = await json<Score>('score', 'small-one', '--text', 'Hi');
    const text = '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n';
    expect(score.bytes).toBe(text.length - '<|im_start|>'.length);
    expect(score.tokens).toHaveLength(score.rows.length);
  });

  test('--data scores what the assistant says', async () => {
    interface Scores extends Score {
      conversations: Score[];
    }
    const total = await json<Scores>('score', 'tiny', '--data', 'two.jsonl');
    expect(total.conversations.map(({ bytes }) => bytes)).toEqual(
      ['The thing 0 is red.', 'The thing 1 is green.'].map((text) => text.length),
    );
    expect(total.nll).toBeCloseTo(total.conversations[0]!.nll + total.conversations[1]!.nll, 5);
    expect(total.conversations[0]!.rows).toBeUndefined();
    const withRows = await json<Scores>('score', 'tiny', '--data', 'two.jsonl', '--top', '2');
    expect(withRows.conversations[0]!.rows[0]!.ids).toHaveLength(2);
  });

  test('a text beyond the context is refused', async () => {
    const { code, stderr } = await alloy('score', 'tiny', '--text', 'x'.repeat(300), '--raw');
    expect(code).toBe(3);
    expect(stderr).toMatch(/300 tokens.*holds 256/u);
  });
});

describe('chat', () => {
  test('one message, the same answer for the same seed', async () => {
    const answer = (seed: string) =>
      json<{ text: string; tokens: number }>(
        'chat',
        'tiny',
        '--prompt',
        'Hi',
        '--max-new-tokens',
        '6',
        '--seed',
        seed,
      );
    const first = await answer('1');
    expect(first.tokens).toBeLessThanOrEqual(6);
    expect(await answer('1')).toMatchObject({ text: first.text });
    expect((await answer('2')).text).not.toBe(first.text);
  });
});
