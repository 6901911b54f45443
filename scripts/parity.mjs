/*
 * `npm run parity [-- models | quant | merge | real] [--device webgpu | wasm]`: sets up what is missing and compares Alloy
 * with recorded numbers, by default on WebGPU where there is an adapter. The last line of stdout is `N passed, N failed`.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureKernels } from './setup/kernels.mjs';
import { ensureModules } from './setup/modules.mjs';
import { root, run, runMain, SetupError, say } from './setup/process.mjs';
import { adapterName, ensureVulkan } from './setup/vulkan.mjs';

/** @typedef {import('./setup/vulkan.mjs').Driver} Driver */

/** @param {string[]} args @returns {{ device: string | undefined, words: string[] }} */
function parse(args) {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { device: { type: 'string' } },
      allowPositionals: true,
    });
    const { device } = values;
    if (device !== undefined && !['auto', 'webgpu', 'wasm'].includes(device))
      throw new SetupError(`--device is "${device}"; choose among auto, webgpu and wasm.`);
    return { device, words: positionals };
  } catch (error) {
    throw error instanceof SetupError ? error : new SetupError(String(error));
  }
}

/** @param {string | undefined} device @returns {Promise<Driver | undefined>} nothing where the processor has to do */
async function driverFor(device) {
  try {
    return await ensureVulkan();
  } catch (error) {
    if (device === 'webgpu' || !(error instanceof SetupError)) throw error;
    say(`${error.message}\nThe processor's device is compared instead.`);
    return undefined;
  }
}

await runMain(async () => {
  await ensureModules();
  await ensureKernels();
  const { device, words } = parse(process.argv.slice(2));
  const driver = device === 'wasm' ? undefined : await driverFor(device);
  if (driver) say(`WebGPU adapter of Dawn: ${adapterName(driver.adapter)}`);
  const main = join(root, 'scripts', 'parity', 'main.ts');
  const env = { ...driver?.env, ALLOY_DEVICE: driver ? 'webgpu' : 'wasm' };
  return run(process.execPath, ['--import', 'tsx', main, ...words], { env });
});
