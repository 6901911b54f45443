/*
 * `npm test`: sets up what is missing (packages, a Vulkan driver for Dawn, a Chromium) and runs every check in order,
 * stopping at the first that fails. Without a Vulkan driver the tests of WebGPU are left out. `npm test -- units e2e` runs only the named ones. The last line counts tests.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureChromium } from './setup/chromium.mjs';
import { ensureModules } from './setup/modules.mjs';
import { root, run, runMain, SetupError, say } from './setup/process.mjs';
import { serve } from './setup/serve.mjs';
import { playwrightCounts, readReport, vitestCounts } from './setup/summary.mjs';
import { adapterName, ensureVulkan } from './setup/vulkan.mjs';

/** @typedef {import('./setup/summary.mjs').Counts} Counts */

const reports = join(root, 'test-results');
const unitReport = join(reports, 'units.json');
const browserReport = join(reports, 'e2e.json');

/** Runs a tool of node_modules without a shell, the same on every system. */
/** @param {string} entry @param {readonly string[]} args @param {Record<string, string>} [env] */
function tool(entry, args, env = {}) {
  return run(process.execPath, [join(root, 'node_modules', entry), ...args], { env });
}

/** @param {number} code @returns {Counts} a check without tests of its own counts when it fails */
function check(code) {
  return { passed: 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/** @type {Readonly<Record<string, { title: string, execute: (env: Record<string, string>) => Promise<Counts> }>>} */
const STAGES = {
  lint: {
    title: 'format and lint (biome)',
    execute: async () => check(await tool('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '.'])),
  },
  types: {
    title: 'types (tsc)',
    execute: async () => check(await tool('typescript/bin/tsc', ['--noEmit', '-p', '.'])),
  },
  units: {
    title: 'units and parity (vitest)',
    execute: async (env) => {
      const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${unitReport}`];
      const projects = units.map((name) => `--project=${name}`);
      const code = await tool('vitest/vitest.mjs', ['run', ...projects, ...reporters], env);
      return vitestCounts(readReport(unitReport), code);
    },
  },
  build: {
    title: 'build (vite)',
    execute: async () => check(await tool('vite/bin/vite.js', ['build'])),
  },
  e2e: {
    title: 'the studio in Chromium (playwright)',
    execute: async (env) => {
      const code = await tool('@playwright/test/cli.js', ['test', '--reporter=list,json'], {
        ...env,
        PLAYWRIGHT_JSON_OUTPUT_FILE: browserReport,
        ALLOY_E2E_PORT: String(await freePort()),
      });
      return playwrightCounts(readReport(browserReport), code);
    },
  },
};

/** The unit tests that are run: all, or those that need no WebGPU. */
let units = ['plain', 'webgpu', 'wasm'];

/**
 * Most tests run on both devices, so without an adapter little goes untested but WebGPU itself.
 * @param {string | undefined} chromium
 */
async function webGpuOrNot(chromium) {
  try {
    const { adapter, env } = await ensureVulkan({ chromium });
    say(`WebGPU adapter of Dawn: ${adapterName(adapter)}`);
    return env;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    units = units.filter((name) => name !== 'webgpu');
    say(
      `${error.message}\nThe tests of WebGPU are left out; the engine is tested on the processor's device alone.`,
    );
    return {};
  }
}

async function freePort() {
  const { server, url } = await serve(root);
  await new Promise((resolve) => server.close(resolve));
  return Number(new URL(url).port);
}

async function main() {
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !(name in STAGES));
  if (unknown) {
    throw new SetupError(`There is no check "${unknown}"; choose from ${Object.keys(STAGES).join(', ')}.`);
  }
  const names = Object.keys(STAGES).filter((name) => asked.length === 0 || asked.includes(name));
  await ensureModules();
  const chromium = names.includes('e2e') ? await ensureChromium() : undefined;
  if (chromium) say(`Chromium: ${chromium}`);
  /** @type {Record<string, string>} */
  const env = chromium ? { ALLOY_CHROMIUM: chromium } : {};
  if (names.includes('units')) {
    Object.assign(env, await webGpuOrNot(chromium));
  }
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  return runStages(names, env);
}

/** @param {readonly string[]} names @param {Record<string, string>} env */
async function runStages(names, env) {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  for (const name of names) {
    const stage = STAGES[name];
    if (!stage) continue;
    say(`\n── ${name}: ${stage.title}`);
    const started = performance.now();
    const counts = await stage.execute(env);
    passed += counts.passed;
    failed += counts.failed;
    skipped += counts.skipped;
    const seconds = Math.round((performance.now() - started) / 1000);
    if (counts.failed > 0) {
      say(`\n"${name}" failed after ${seconds} s; run it alone with: npm test -- ${name}`);
      break;
    }
    say(`"${name}" passed in ${seconds} s`);
  }
  if (skipped > 0) say(`${skipped} skipped`);
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

await runMain(main);
