import { defineConfig } from '@playwright/test';
import { findChromium } from './scripts/setup/chromium.mjs';

const executablePath = await findChromium();
const port = Number(process.env.ALLOY_E2E_PORT ?? 4317);

/** Quiet, and able to start as root in a container. */
const QUIET = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Chromium on a machine without a GPU offers SwiftShader as its WebGPU adapter only with this flag; else it has none. */
const WEBGPU = '--enable-unsafe-webgpu';

const launch = (args: readonly string[]) => ({
  launchOptions: { args: [...args], ...(executablePath ? { executablePath } : {}) },
});

const MINUTE = 60_000;

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results/e2e',
  // One page at a time: a software adapter uses every core.
  workers: 1,
  timeout: 10 * MINUTE,
  expect: { timeout: MINUTE },
  forbidOnly: Boolean(process.env.CI),
  reporter: 'list',
  use: {
    baseURL: `http://127.0.0.1:${port}/`,
    viewport: { width: 1280, height: 720 },
    locale: 'en-GB',
    timezoneId: 'UTC',
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
  },
  projects: [
    { name: 'webgpu', testIgnore: /processor/, use: launch([...QUIET, WEBGPU]) },
    { name: 'processor', testMatch: /processor|journey/, use: launch(QUIET) },
  ],
  webServer: {
    command: `node scripts/start.mjs --no-build --no-open --port ${port}`,
    url: `http://127.0.0.1:${port}/`,
    timeout: MINUTE,
  },
});
