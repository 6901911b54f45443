import { accessSync, constants, mkdirSync, rmdirSync, type Stats, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { NodeStorage } from '../storage/nodeStorage.ts';
import { AlloyError } from '../util/errors.ts';
import type { CommandContext } from './command.ts';

/**
 * Checks before hours of work that a folder can be made where the results are to go.
 * @throws AlloyError `bad-argument`
 */
export function checkOutFolder(path: string, option: string): void {
  let missing: string | undefined;
  for (let folder = path; ; folder = dirname(folder)) {
    const info = statOrNothing(folder);
    if (info && !info.isDirectory()) {
      throw new AlloyError('bad-argument', `${option}: ${folder} is a file; give a folder for the results.`);
    }
    if (info) {
      tryWriting(folder, missing, option);
      return;
    }
    missing = folder;
  }
}

/** Makes the first missing folder and takes it away again. */
function tryWriting(folder: string, missing: string | undefined, option: string): void {
  try {
    if (missing === undefined) accessSync(folder, constants.W_OK);
    else {
      mkdirSync(missing);
      rmdirSync(missing);
    }
  } catch (cause) {
    throw new AlloyError(
      'bad-argument',
      `${option}: nothing can be written in ${folder}; choose another folder.`,
      { cause },
    );
  }
}

/** Where finished stages are kept: what `--store` names, else below the results. @throws AlloyError `bad-argument` */
export function stageStorage({ args, terminal }: CommandContext, out: string): NodeStorage {
  const store = args.text('store');
  const folder = store === undefined ? join(out, '.alloy') : resolve(terminal.folder, store);
  checkOutFolder(folder, store === undefined ? '--out' : '--store');
  return new NodeStorage(folder);
}

/** No file can be there: below a file, behind a link that leads to itself, under a name that is too long. */
const NOWHERE: readonly unknown[] = ['ENOTDIR', 'ELOOP', 'ENAMETOOLONG'];

/** What a path leads to. @throws AlloyError `bad-argument` where it may not be looked at */
export function statOrNothing(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (NOWHERE.includes(code)) return undefined;
    throw new AlloyError(
      'bad-argument',
      `${path} cannot be looked at (${code}); check its permissions or give another path.`,
      { cause },
    );
  }
}
