import { readText } from '../storage/storageHelpers.ts';
import { AlloyError } from '../util/errors.ts';
import type { Host } from './host.ts';

const RECIPES = 'recipes';
export const SAMPLE_RECIPE = `${RECIPES}/sample.yaml`;

/** The text of a file of the project, by its path there. @throws AlloyError `missing-file` */
export async function projectText({ openFile }: Pick<Host, 'openFile'>, path: string): Promise<string> {
  const file = await openFile(path);
  if (file) return readText(file);
  throw new AlloyError('missing-file', `${path} is missing; build the studio anew, or reload the page.`);
}

/**
 * Where a file that a recipe of the project names lies in the project: paths in recipes hold from their own folder.
 * @throws AlloyError `missing-file` for paths out of the project
 */
export function dataPath(path: string): string {
  const names: string[] = [RECIPES];
  const outside = /^([a-z]+:|[\\/])/iu.test(path);
  for (const name of path.split('/')) {
    if (name === '..' ? names.pop() === undefined : outside) {
      throw new AlloyError(
        'missing-file',
        `${path} lies outside the project; in the studio a recipe's data must come with it.`,
      );
    }
    if (name !== '..' && name !== '.' && name !== '') names.push(name);
  }
  return names.join('/');
}
