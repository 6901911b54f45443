/**
 * A lock between processes: a file that exactly one of them can make. The holder touches it, so that a lock whose holder
 * was killed is told from one at work: its process is gone, or nobody has touched it for a minute.
 */
import { mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import type { ExclusiveOptions } from './storage.ts';
import { asStorageError, lockSuffix, sleep } from './storageHelpers.ts';

const POLL_MS = 150;
const TOUCH_MS = 10_000;
const STALE_MS = 60_000;

/** Runs a job while this process holds the lock at `path`. @throws AlloyError `cancelled`, or that nothing can be written */
export async function withLockFile<T>(
  path: string,
  job: () => Promise<T>,
  { signal, onWait }: ExclusiveOptions,
): Promise<T> {
  let told = false;
  while (!(await take(path))) {
    if (await removeStale(path)) continue;
    if (!told) onWait?.();
    told = true;
    await sleep(POLL_MS, signal);
  }
  const touching = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touching.unref();
  try {
    return await job();
  } finally {
    clearInterval(touching);
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'wx');
    // On a full disk the lock stays empty, and is told by its age alone.
    await file.writeFile(`${process.pid} ${hostname()}\n`).catch(() => undefined);
    await file.close();
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw asStorageError(error, path);
  }
}

/** @returns whether the lock was one that nobody holds any more */
async function removeStale(path: string): Promise<boolean> {
  const seen = await holder(path);
  if (!seen) return true;
  if (!seen.stale) return false;
  // Two may find the same stale lock: each moves what it finds aside, and what is not the stale one goes back.
  const tag = `${process.pid}-${Math.random().toString(16).slice(2)}`;
  const aside = `${path.slice(0, -lockSuffix.length)}.${tag}${lockSuffix}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true;
    throw asStorageError(error, path);
  }
  const moved = await holder(aside);
  if (moved && moved.text !== seen.text) await rename(aside, path);
  else await rm(aside, { force: true });
  return true;
}

async function holder(path: string): Promise<{ text: string; stale: boolean } | undefined> {
  try {
    const [text, info] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const [pid = '', host] = text.trim().split(' ');
    const ageMs = Date.now() - info.mtimeMs;
    // A lock without a text is one that is being made, or whose maker had no space left.
    const gone = text !== '' && host === hostname() && !isAlive(Number(pid));
    return { text, stale: gone || ageMs > STALE_MS };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw asStorageError(error, path);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
