/*
 * `npm run bench`: sets up what is missing, bundles the bench and runs it. With `--pack DIR` it packs it instead, for a
 * Linux machine that has a GPU driver and nothing else.
 */
import { copyFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bundle, bundlePage } from './setup/bundle.mjs';
import { ensureChromium } from './setup/chromium.mjs';
import { ensureKernels } from './setup/kernels.mjs';
import { ensureModules } from './setup/modules.mjs';
import { packBench } from './setup/packBench.mjs';
import { root, run, runMain, SetupError, say } from './setup/process.mjs';
import { adapterName, ensureVulkan } from './setup/vulkan.mjs';

const ORT_WASM = 'ort-wasm-simd-threaded.asyncify.wasm';

/** The page in which engines run as in a browser, and the browser. */
async function preparePages() {
  const page = join(root, 'dist', 'bench-page');
  await bundlePage('bench/page', page);
  return { ALLOY_BENCH_PAGE: page, ALLOY_CHROMIUM: await ensureChromium() };
}

async function main() {
  const args = process.argv.slice(2);
  const pack = args.indexOf('--pack');
  const folder = join(root, 'dist', pack >= 0 ? 'bench-pack' : 'bench');
  await ensureModules();
  say('Bundling the bench');
  await bundle('bench/main.ts', folder);
  copyFileSync(join(root, 'node_modules', 'onnxruntime-web', 'dist', ORT_WASM), join(folder, ORT_WASM));
  if (pack >= 0) {
    const target = args[pack + 1];
    if (!target) throw new SetupError('--pack needs a folder; name one after it.');
    await packBench(folder, resolve(target));
    return 0;
  }
  await ensureKernels();
  const pages = args[0] === 'wasm' ? await preparePages() : {};
  const driver = await ensureVulkan().catch((error) => {
    // The WASM device needs none; it is only not compared with WebGPU then.
    if (args[0] === 'wasm') return undefined;
    throw error;
  });
  if (driver) say(`WebGPU adapter of Dawn: ${adapterName(driver.adapter)}`);
  return run(process.execPath, [join(folder, 'main.mjs'), ...args], { env: { ...driver?.env, ...pages } });
}

await runMain(main);
