/*
 * `npm run test:real`: fetches the three real models into a cache outside the project and runs what needs them: the tests,
 * the parity checks and, where there are a GPU and the chat data (`ALLOY_DATA`), the recipe. `-- checks` and `-- recipe` run one.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureModules } from './setup/modules.mjs';
import { root, run, runMain, SetupError, say } from './setup/process.mjs';
import { adapterName, ensureVulkan } from './setup/vulkan.mjs';

const RECIPE = join('recipes', 'smollm2.yaml');
const PARTS = ['checks', 'recipe'];

/** @param {readonly string[]} args @param {Record<string, string>} [env] */
const node = (args, env = {}) => run(process.execPath, args, { env });

/** @param {Record<string, string>} env */
async function checks(env) {
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const units = await node([vitest, 'run', '--mode', 'real'], env);
  if (units !== 0) return units;
  return node(['--import', 'tsx', join('scripts', 'parity', 'main.ts'), 'real'], env);
}

await runMain(async () => {
  const [part, ...more] = process.argv.slice(2);
  if (more.length > 0 || (part !== undefined && !PARTS.includes(part)))
    throw new SetupError(`test:real runs ${PARTS.join(' or ')}, or both without a word.`);
  await ensureModules();
  const driver = await ensureVulkan();
  const adapter = adapterName(driver.adapter);
  say(`WebGPU adapter of Dawn: ${adapter}`);
  const fetched = await node(['--import', 'tsx', join('scripts', 'realModels.ts')]);
  if (fetched !== 0) return fetched;
  if (part !== 'recipe') {
    const code = await checks(driver.env);
    if (code !== 0) return code;
  }
  if (part === 'checks') return 0;
  const software = /llvmpipe|lavapipe|swiftshader/i.test(adapter);
  const data = process.env.ALLOY_DATA ?? join(root, '..', 'shared', 'data');
  if (part === undefined && (software || !existsSync(data))) {
    say(
      `The recipe was left out: it wants a GPU and the chat data in ${data}. Run it with: npm run test:real -- recipe`,
    );
    return 0;
  }
  return node([join('scripts', 'alloy.mjs'), 'fuse', RECIPE], driver.env);
});
