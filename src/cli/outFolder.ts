import { type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { AlloyError } from '../util/errors.ts';

/**
 * Checks before hours of work that a folder can be made where the results are to go.
 * @throws AlloyError `bad-argument`
 */
export function checkOutFolder(path: string, option: string): void {
  for (let folder = path; ; folder = dirname(folder)) {
    const info = statOrNothing(folder);
    if (info?.isDirectory()) return;
    if (info) {
      throw new AlloyError('bad-argument', `${option}: ${folder} is a file; give a folder for the results.`);
    }
    if (dirname(folder) === folder) return;
  }
}

/** What a path leads to; below a file there is nothing, too. */
export function statOrNothing(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOTDIR') return undefined;
    throw error;
  }
}
