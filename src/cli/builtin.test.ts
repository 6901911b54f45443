import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BUILTIN_FOLDER, ModelShelf } from './modelShelf.ts';
import { runCli } from './run.ts';
import { fakeTerminal } from './testing.ts';

async function json<T>(...argv: string[]): Promise<T> {
  const terminal = fakeTerminal('/');
  const code = await runCli([...argv, '--json'], terminal);
  expect({ code, stderr: code === 0 ? '' : terminal.stderr() }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(terminal.stdout()) as T;
}

test('the index of the built-in models is true', async () => {
  const shelf = new ModelShelf({});
  const cards = await shelf.builtin();
  expect(cards.filter(({ role }) => role === 'pivot')).toHaveLength(1);
  expect(cards.filter(({ role }) => role === 'source').length).toBeGreaterThanOrEqual(3);
  expect(cards.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(12e6);
  for (const { name, file, bytes, sha256, family, vocab, context } of cards) {
    const content = readFileSync(join(BUILTIN_FOLDER, file));
    const found = createHash('sha256').update(content).digest('hex');
    expect({ name, bytes: content.length, sha256: found }).toEqual({ name, bytes, sha256 });
    const { config } = await shelf.open(name, '/', 'the test');
    expect({ name, family: config.family, vocab: config.vocabSize }).toEqual({ name, family, vocab });
    expect(config.maxPositions).toBe(context);
  }
});

test('a built-in file that is not the one of the index is refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'alloy-builtin-'));
  cpSync(BUILTIN_FOLDER, folder, { recursive: true });
  const [card] = await new ModelShelf({}).builtin();
  const path = join(folder, card?.file ?? '');
  const content = readFileSync(path);
  content[content.length - 1] = 1 - (content.at(-1) ?? 0);
  writeFileSync(path, content);
  const shelf = new ModelShelf({}, { builtinFolder: folder });
  await expect(shelf.open(card?.name ?? '', '/', 'the test')).rejects.toThrow(/its sha256 differs/u);
  rmSync(folder, { recursive: true });
});

test('a built-in model reads and likes English more than noise', async () => {
  const perByte = async (text: string) =>
    (await json<{ nllPerByte: number }>('score', 'alloy-pivot', '--text', text, '--raw')).nllPerByte;
  expect(await perByte('Hello, how are you today?')).toBeLessThan(await perByte('Zq xv, wpo kkj uuz ttrq?'));
});

test('tokens of a built-in model end where the text ends', async () => {
  const text = 'How many legs does a spider have?';
  const { tokens, pieces } = await json<{ tokens: number[]; pieces: { end: number }[] }>(
    'tokenize',
    'meadow',
    '--text',
    text,
  );
  expect(tokens.length).toBeGreaterThan(3);
  expect(pieces.at(-1)?.end).toBe(text.length);
});
