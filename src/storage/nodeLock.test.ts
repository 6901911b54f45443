import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLockFile } from './nodeLock.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alloy-lock-'));
  path = join(folder, 'deep', 'x.lock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function leave(text: string, ageMs = 0): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  const at = new Date(Date.now() - ageMs);
  await utimes(path, at, at);
}

test('jobs run one after the other, and the lock goes with the last', async () => {
  let running = 0;
  const most: number[] = [];
  const job = async () => {
    most.push(++running);
    await pause(5);
    running--;
  };
  let waits = 0;
  const onWait = () => {
    waits++;
  };
  await Promise.all([1, 2, 3].map(() => withLockFile(path, job, { onWait })));
  expect(most).toEqual([1, 1, 1]);
  expect(waits).toBe(2);
  expect(await readdir(join(folder, 'deep'))).toEqual([]);
  await expect(withLockFile(path, () => Promise.reject(new Error('no')), {})).rejects.toThrow('no');
  expect(existsSync(path)).toBe(false);
});

test('a lock whose process is gone is taken over, by one of those that wait', async () => {
  const child = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => child.on('exit', resolve));
  await leave(`${child.pid} ${hostname()}\n`);
  let running = 0;
  const job = async () => {
    expect(++running).toBe(1);
    await pause(2);
    running--;
  };
  await Promise.all([1, 2, 3, 4].map(() => withLockFile(path, job, {})));
  expect(await readdir(join(folder, 'deep'))).toEqual([]);
});

test.each([
  ['of another machine', '1 elsewhere\n'],
  ['without a text', ''],
])('a lock %s is waited for until nobody has touched it for long', async (_, text) => {
  await leave(text);
  const abort = new AbortController();
  const waiting = withLockFile(path, async () => 'done', { signal: abort.signal });
  await pause(30);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
  expect(existsSync(path)).toBe(true);
  await leave(text, 120_000);
  expect(await withLockFile(path, async () => 'done', {})).toBe('done');
});

test('where no lock can be made it is said', async () => {
  await writeFile(join(folder, 'deep'), '');
  await expect(withLockFile(path, async () => 1, {})).rejects.toMatchObject({ code: 'bad-argument' });
});
