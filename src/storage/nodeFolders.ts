import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where downloaded models are kept outside the project: `$ALLOY_CACHE`, else `~/.cache/alloy`. */
export function modelCacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.ALLOY_CACHE || join(homedir(), '.cache', 'alloy');
}

/** Chat and evaluation data that is read in place: `$ALLOY_DATA`, else `shared/data` beside the project's folder. */
export function dataFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.ALLOY_DATA || join(import.meta.dirname, '../../..', 'shared', 'data');
}
