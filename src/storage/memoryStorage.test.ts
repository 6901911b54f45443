import { expect, test } from 'vitest';
import { MemoryStorage } from './memoryStorage.ts';
import { readText, writeFile } from './storageHelpers.ts';

test('keeps, lists, replaces and removes files', async () => {
  const storage = new MemoryStorage();
  await writeFile(storage, 'a/one', 'first');
  await writeFile(storage, 'a/b/two', 'second');
  await writeFile(storage, 'ab', 'third');
  await writeFile(storage, 'a/one', 'again');
  expect(await storage.list('a')).toEqual([
    { path: 'a/b/two', bytes: 6 },
    { path: 'a/one', bytes: 5 },
  ]);
  expect(await readText(await storage.open('a/one'))).toBe('again');
  await storage.remove('a');
  expect((await storage.list()).map(({ path }) => path)).toEqual(['ab']);
  await expect(storage.open('a/one')).rejects.toMatchObject({ code: 'missing-file' });
  await expect(storage.exists('../x')).rejects.toMatchObject({ code: 'bad-argument' });
});

test('a file appears when it is complete; a kept part can be gone on with', async () => {
  const storage = new MemoryStorage();
  const bytes = (...values: number[]) => Uint8Array.from(values);
  const first = await storage.create('x');
  await first.write(bytes(1, 2));
  expect(await storage.exists('x')).toBe(false);
  await first.abort({ keepPart: true });
  expect(await storage.exists('x')).toBe(false);
  const second = await storage.create('x', { resume: true });
  expect(second.bytes).toBe(2);
  await second.write(bytes(3));
  await second.commit();
  expect([...(await (await storage.open('x')).read(0, 3))]).toEqual([1, 2, 3]);
  const third = await storage.create('x');
  await third.write(bytes(9));
  await third.abort();
  expect((await storage.list())[0]).toEqual({ path: 'x', bytes: 3 });
});
