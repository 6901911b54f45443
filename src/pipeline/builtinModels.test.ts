import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { memorySource } from '../storage/blobSource.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { readAll } from '../storage/storageHelpers.ts';
import { BuiltinModels } from './builtinModels.ts';
import { dataPath } from './projectFiles.ts';
import { tinyHost } from './testing.ts';

const tiny = tinyHost(testDevice);
const index = (text: string) => async (path: string) =>
  path === 'public/models/index.json' ? memorySource(new TextEncoder().encode(text), path) : null;

test('reads the index and opens what it names, once', async () => {
  const models = new BuiltinModels(tiny.openFile);
  const cards = await models.cards();
  expect(cards.map(({ name }) => name)).toEqual(['pivot', 'reader', 'writer']);
  expect(cards[0]).not.toHaveProperty('file');
  expect(await models.open('writer')).toBe(await models.open('writer'));
  expect((await models.open('writer')).config.family).toBe('gemma3');
});

test('says what is missing or wrong', async () => {
  const models = new BuiltinModels(tiny.openFile);
  await expect(models.open('nobody')).rejects.toMatchObject({
    code: 'missing-file',
    message: 'There is no built-in model "nobody"; choose one of pivot, reader, writer.',
  });
  await expect(new BuiltinModels(async () => null).cards()).rejects.toMatchObject({
    code: 'missing-file',
    message: expect.stringContaining('public/models/index.json'),
  });
  await expect(new BuiltinModels(index('[1')).cards()).rejects.toMatchObject({ code: 'bad-file' });
  await expect(new BuiltinModels(index('[{"name": "a"}]')).cards()).rejects.toMatchObject({
    code: 'bad-file',
    message: expect.stringContaining('0.title'),
  });
  const cards = await models.cards();
  const dangling = new BuiltinModels(index(JSON.stringify([{ ...cards[0], name: 'gone' }])));
  await expect(dangling.open('gone')).rejects.toMatchObject({
    code: 'missing-file',
    message: expect.stringContaining('public/models/gone.gguf'),
  });
});

test('a file that is not the one of the index is refused', async () => {
  const project = new URL('../../', import.meta.url).pathname;
  const file = await readAll(await nodeFileSource(`${project}public/models/meadow/model.gguf`));
  const files = (content: Uint8Array) => async (path: string) =>
    path.endsWith('.gguf') ? memorySource(content, path) : nodeFileSource(project + path);
  expect((await new BuiltinModels(files(file)).open('meadow')).config.family).toBe('qwen3');
  const damaged = file.with(file.length - 1, 1 - (file.at(-1) ?? 0));
  await expect(new BuiltinModels(files(damaged)).open('meadow')).rejects.toMatchObject({
    code: 'bad-file',
    message: expect.stringContaining('sha256'),
  });
});

test('an index that could not be read is read again', async () => {
  let offline = true;
  const models = new BuiltinModels(async (path) => {
    if (offline) throw new Error('offline');
    return tiny.openFile(path);
  });
  await expect(models.cards()).rejects.toThrow('offline');
  offline = false;
  expect(await models.cards()).toHaveLength(3);
});

test('paths of a recipe hold from its folder and stay in the project', () => {
  expect(dataPath('../public/data/sample/train.jsonl')).toBe('public/data/sample/train.jsonl');
  expect(dataPath('./more/../train.jsonl')).toBe('recipes/train.jsonl');
  for (const path of [
    '../../elsewhere/a.jsonl',
    '/etc/a.jsonl',
    'https://example.org/a.jsonl',
    'C:\\a.jsonl',
  ]) {
    expect(() => dataPath(path)).toThrow(/outside the project/);
  }
});
