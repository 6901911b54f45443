import { mkdir, mkdtemp, open, readFile, rm, symlink, writeFile as writeDisk } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { blobSource, memorySource } from './blobSource.ts';
import { NodeStorage, nodeFileSource, readNodeFile, sha256OfFile } from './nodeStorage.ts';
import type { FileSource, Storage } from './storage.ts';
import { asReadError, asStorageError, readJson, readText, writeFile } from './storageHelpers.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = async (source: FileSource) => new TextDecoder().decode(await source.read(0, source.bytes));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alloy-storage-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('a folder on disk', () => {
  const make = (): Storage => new NodeStorage(join(folder, 'not', 'there', 'yet'));

  test('writes, lists, reads and removes', async () => {
    const storage = make();
    expect(await storage.list()).toEqual([]);
    await writeFile(storage, 'models/a/config.json', '{"a": 1}');
    await writeFile(storage, 'models/b.gguf', bytesOf('weights'));
    await writeFile(storage, 'notes.txt', 'é');
    expect(await storage.list()).toEqual([
      { path: 'models/a/config.json', bytes: 8 },
      { path: 'models/b.gguf', bytes: 7 },
      { path: 'notes.txt', bytes: 2 },
    ]);
    expect(await storage.list('models/a')).toEqual([{ path: 'models/a/config.json', bytes: 8 }]);
    expect(await storage.list('nowhere')).toEqual([]);
    expect(await readJson(await storage.open('models/a/config.json'))).toEqual({ a: 1 });
    const source = await storage.open('models/b.gguf');
    expect([source.name, source.bytes]).toEqual(['b.gguf', 7]);
    expect(new TextDecoder().decode(await source.read(2, 3))).toBe('igh');
    await expect(source.read(5, 3)).rejects.toThrow(/b\.gguf/);
    await storage.remove('models');
    expect(await storage.exists('models/b.gguf')).toBe(false);
    expect(await storage.exists('notes.txt')).toBe(true);
    await storage.remove('models');
    await expect(storage.open('models/b.gguf')).rejects.toThrow(/there is no such file/);
  });

  test('a file is there when it is complete, not before', async () => {
    const storage = make();
    await writeFile(storage, 'a.bin', 'old');
    const writer = await storage.create('a.bin');
    await writer.write(bytesOf('new and '));
    await writer.write(bytesOf('longer'));
    expect(writer.bytes).toBe(14);
    expect(await textOf(await storage.open('a.bin'))).toBe('old');
    await writer.commit();
    expect(await textOf(await storage.open('a.bin'))).toBe('new and longer');
    expect((await storage.list()).map(({ path }) => path)).toEqual(['a.bin']);
    await expect(writer.write(bytesOf('x'))).rejects.toThrow(AlloyError);
  });

  test('an aborted file leaves nothing, unless it is to be resumed', async () => {
    const storage = make();
    const aborted = await storage.create('a.bin');
    await aborted.write(bytesOf('half'));
    await aborted.abort();
    const first = await storage.create('b.bin', { resume: true });
    expect(first.bytes).toBe(0);
    await first.write(bytesOf('half'));
    await first.abort({ keepPart: true });
    expect(await storage.list()).toEqual([]);
    const fresh = await storage.create('a.bin', { resume: true });
    expect(fresh.bytes).toBe(0);
    await fresh.abort();
    const second = await storage.create('b.bin', { resume: true });
    expect(second.bytes).toBe(4);
    await second.write(bytesOf(' and half'));
    await second.commit();
    expect(await textOf(await storage.open('b.bin'))).toBe('half and half');
    const third = await storage.create('b.bin', { resume: true });
    expect(third.bytes).toBe(0);
    await third.abort();
  });

  test.each(['../a', '/a', 'a/../b', '', 'a//b', 'a.part', 'c:\\a'])(
    'the path %j is refused',
    async (path) => {
      await expect(async () => await make().create(path)).rejects.toThrow(/not a path inside/);
    },
  );
});

test('a full disk leaves nothing under the final name', async (context) => {
  const full = await open('/dev/full', 'w').catch(() => null);
  if (full === null) return context.skip();
  await full.close();
  await symlink('/dev/full', join(folder, 'b.bin.part'));
  const storage = new NodeStorage(folder);
  await expect(writeFile(storage, 'b.bin', 'x')).rejects.toMatchObject({ code: 'disk-full' });
  expect(await storage.exists('b.bin')).toBe(false);
});

describe('files', () => {
  test('on disk', async () => {
    const path = join(folder, 'a.txt');
    await writeDisk(path, 'abc');
    expect(await readText(await nodeFileSource(path))).toBe('abc');
    expect(await sha256OfFile(path)).toMatch(/^ba7816bf8f01cfea/);
    await expect(nodeFileSource(join(folder, 'b.txt'))).rejects.toMatchObject({ code: 'missing-file' });
    await expect(nodeFileSource(folder)).rejects.toThrow(/not a folder/);
    const shrinking = await nodeFileSource(path);
    await writeDisk(path, 'a');
    await expect(shrinking.read(0, 3)).rejects.toThrow(/became shorter/);
  });

  test('in memory', async () => {
    const blob = blobSource(new Blob(['hello']), 'h.txt');
    expect(new TextDecoder().decode(await blob.read(1, 3))).toBe('ell');
    const bytes = bytesOf('hello');
    const read = await memorySource(bytes, 'm').read(1, 2);
    read[0] = 0;
    expect(bytes[1]).toBe(101);
    await expect(memorySource(bytes, 'm').read(-1, 2)).rejects.toThrow(AlloyError);
  });

  test('that are no text or no JSON are named', async () => {
    await expect(readText(memorySource(Uint8Array.of(255), 'x.txt'))).rejects.toThrow(/x\.txt.*UTF-8/);
    await expect(readJson(memorySource(bytesOf('{'), 'x.json'))).rejects.toThrow(/x\.json.*JSON/);
  });
});

test('a committed file on disk has its bytes and no part beside it', async () => {
  const storage = new NodeStorage(folder);
  await writeFile(storage, 'deep/x.bin', 'bytes');
  expect(await readFile(join(folder, 'deep', 'x.bin'), 'utf8')).toBe('bytes');
  expect(await storage.freeBytes()).toBeGreaterThan(0);
});

test('what the operating system refuses becomes a sentence with the file', async () => {
  const refused = (code: string) => Object.assign(new Error(code), { code });
  expect(asReadError(refused('EACCES'), 'm/config.json')).toMatchObject({
    code: 'bad-file',
    message: 'm/config.json cannot be read (EACCES); check the file and its permissions.',
  });
  expect(asStorageError(refused('EFBIG'), 'x')).toMatchObject({ code: 'disk-full' });
  expect(asStorageError(refused('EROFS'), 'x')).toMatchObject({ code: 'bad-argument' });
  const own = refused('ERR_INVALID_ARG');
  expect(asStorageError(own, 'x')).toBe(own);
  await expect(readNodeFile(folder, 'data')).rejects.toThrow(/^data cannot be read \(EISDIR\)/);
  const storage = new NodeStorage(folder);
  await mkdir(join(folder, 'taken', 'below'), { recursive: true });
  await expect(writeFile(storage, 'taken', 'x')).rejects.toThrow(/taken cannot be written \(EISDIR\)/);
  expect((await storage.list()).map(({ path }) => path)).toEqual([]);
});
