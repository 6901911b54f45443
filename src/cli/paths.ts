import { resolve } from 'node:path';
import { dataFolder, modelCacheFolder } from '../storage/nodeFolders.ts';
import { AlloyError } from '../util/errors.ts';

const DEFAULTS: Readonly<Record<string, (environment: NodeJS.ProcessEnv) => string>> = {
  ALLOY_CACHE: modelCacheFolder,
  ALLOY_DATA: dataFolder,
};

/**
 * Fills in `${NAME}` from the environment; `ALLOY_CACHE` and `ALLOY_DATA` have defaults.
 * @param what the file or argument that the text is from, for the error
 * @throws AlloyError `bad-argument` naming the variable that is not set
 */
export function expandVariables(text: string, environment: NodeJS.ProcessEnv, what: string): string {
  return text.replace(/\$\{([A-Za-z_]\w*)\}/gu, (_whole, name: string) => {
    const value = DEFAULTS[name]?.(environment) ?? environment[name];
    if (value) return value;
    throw new AlloyError(
      'bad-argument',
      `${what} names \${${name}}, but the environment variable ${name} is not set; set it to the folder that is meant.`,
    );
  });
}

/** The path of a file that a text names, seen from a folder. */
export function pathFrom(folder: string, text: string, environment: NodeJS.ProcessEnv, what: string): string {
  return resolve(folder, expandVariables(text, environment, what));
}
