import { test as base, expect, type Page, type TestInfo } from '@playwright/test';
import { parseDocument } from 'yaml';
import type { DeviceChoice } from '../src/pipeline/deviceChoice.ts';

/**
 * The page's tests with two habits: anything the page or its worker logs as an error fails the test, and so does a
 * request that leaves this machine.
 */
export const test = base.extend<{ quiet: undefined }>({
  quiet: [
    async ({ page, baseURL }, use) => {
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error') problems.push(`console: ${message.text()}`);
      });
      page.on('response', (response) => {
        if (response.status() >= 400) problems.push(`${response.status()}: ${response.url()}`);
      });
      const own = new URL(baseURL ?? '').origin;
      page.on('request', (request) => {
        const { protocol, origin } = new URL(request.url());
        if (/^https?:$/.test(protocol) && origin !== own)
          problems.push(`left this machine: ${request.url()}`);
      });
      await use(undefined);
      expect(problems).toStrictEqual([]);
    },
    { auto: true },
  ],
});

/** What the status bar's switch was set to in an earlier visit. */
export async function chooseDevice(page: Page, choice: DeviceChoice): Promise<void> {
  await page.addInitScript((one) => {
    localStorage.setItem('alloy-device', JSON.stringify({ version: 1, choice: one }));
  }, choice);
}

/** As in a browser without WebGPU: the engine's worker has no `navigator.gpu`. */
export const WITHOUT_GPU = "Reflect.deleteProperty(WorkerNavigator.prototype, 'gpu');\n";

/** Runs a script before that of the engine's worker. */
export async function beforeWorker(
  page: Page,
  script: string,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  await page.route('**/assets/worker-*.js', async (route) => {
    const response = await route.fetch();
    const headers = { ...response.headers(), ...more };
    await route.fulfill({ response, headers, body: script + (await response.text()) });
  });
}

/** Makes the sample's recipe the same pipeline over less. */
export async function shortenRecipe(
  page: Page,
  changes: readonly (readonly [path: string, value: unknown])[],
): Promise<void> {
  await page.route('**/recipes/sample.yaml', async (route) => {
    const { range: _, ...headers } = route.request().headers();
    const response = await route.fetch({ headers });
    const document = parseDocument(await response.text());
    for (const [path, value] of changes) document.setIn(path.split('.'), value);
    await route.fulfill({ status: 200, contentType: 'text/yaml', body: document.toString() });
  });
}

/** Where a screenshot goes that is kept whether the test passes or not. */
export function artifact(info: TestInfo, name: string): string {
  return info.project.outputDir.replace(/e2e$/, `screens/${info.project.name}/${name}.png`);
}

export { expect };
