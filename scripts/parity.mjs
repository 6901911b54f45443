/*
 * `npm run parity [-- models | quant | merge | real]`: sets up what is missing and compares Alloy with recorded numbers.
 * The last line of stdout is `N passed, N failed`.
 */
import { join } from 'node:path';
import { ensureModules } from './setup/modules.mjs';
import { root, run, runMain, say } from './setup/process.mjs';
import { adapterName, ensureVulkan } from './setup/vulkan.mjs';

await runMain(async () => {
  await ensureModules();
  const driver = await ensureVulkan();
  say(`WebGPU adapter of Dawn: ${adapterName(driver.adapter)}`);
  const main = join(root, 'scripts', 'parity', 'main.ts');
  return run(process.execPath, ['--import', 'tsx', main, ...process.argv.slice(2)], { env: driver.env });
});
