#!/usr/bin/env node
/*
 * `npm run alloy -- …` and the bin `alloy`: installs the packages when they are missing, then becomes the command line,
 * in this very process, so that signals, exit codes and both output streams are its own.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureKernels } from './setup/kernels.mjs';
import { ensureModules } from './setup/modules.mjs';
import { root, runMain } from './setup/process.mjs';

await runMain(async () => {
  await ensureModules();
  await ensureKernels();
  return 0;
});

if (process.exitCode === 0) {
  process.exitCode = undefined;
  const { register } = await import('tsx/esm/api');
  register();
  const main = join(root, 'src', 'cli', 'main.ts');
  process.argv[1] = main;
  await import(pathToFileURL(main).href);
}
