import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of package.json. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A set-up step that cannot go on; its message is one sentence for the person at the keyboard. */
export class SetupError extends Error {}

/**
 * Tells the person what happens. On stderr, so that stdout belongs to the program that is started.
 * @param {string} text
 */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/**
 * Runs a program to its end. Its output goes to stderr unless `stdout` is `inherit`. While it runs, Ctrl-C is left to
 * it: the terminal sends the signal to both, and the program decides when it has finished.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: Record<string, string>, stdout?: 'inherit' | 'stderr' | 'ignore' }} [options]
 * @returns {Promise<number>} the exit code; 127 when the program cannot be started, 128 + n when signal n ended it
 */
export function run(command, args, { env = {}, stdout = 'inherit' } = {}) {
  const output = stdout === 'stderr' ? 2 : stdout;
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['inherit', output, 'inherit'],
    });
    const interrupt = () => void (process.stdin.isTTY || child.kill('SIGINT'));
    const end = () => void child.kill('SIGTERM');
    process.on('SIGINT', interrupt).on('SIGTERM', end);
    /** @param {number} code */
    const finish = (code) => {
      process.off('SIGINT', interrupt).off('SIGTERM', end);
      resolve(code);
    };
    child.on('error', () => finish(127));
    child.on('exit', (code, signal) => finish(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}

/**
 * Runs a short program and returns what it printed, or undefined when it failed or took too long.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: Record<string, string>, timeoutMs?: number }} [options]
 * @returns {string | undefined}
 */
export function capture(command, args, { env = {}, timeoutMs = 60_000 } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  return result.status === 0 ? result.stdout : undefined;
}

/**
 * @param {string} path
 * @returns {boolean} whether it is a file
 */
export function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/**
 * @param {string} name
 * @returns {string | undefined} the program's full path
 */
export function which(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      if (!isFile(path)) continue;
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not executable, or in a folder that may not be read: look further.
    }
  }
  return undefined;
}

/**
 * Runs the main function of a command: its result is the exit code, and an error is one sentence on stderr.
 * @param {() => Promise<number>} main
 */
export async function runMain(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
