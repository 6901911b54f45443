/** Where WebGPU offers nothing: the processor computes, on threads or on one, and where it cannot either the page says so. */
import { AxeBuilder } from '@axe-core/playwright';
import { test as base, type Page } from '@playwright/test';
import { artifact, beforeWorker, chooseDevice, expect, shortenRecipe, test, WITHOUT_GPU } from './page.ts';

const device = (page: Page) => page.getByRole('button', { name: /^Device:/ });
const reason = (page: Page) => page.getByText(/^Computes on /);

/** Answers to the pivot's first question, with what the columns say of their speed. */
async function ask(page: Page): Promise<string> {
  await page.getByRole('navigation', { name: 'Stages' }).getByRole('button', { name: /Chat/u }).click();
  await page.getByLabel('Prompt').fill('Name an animal that has horns.');
  await page.getByRole('button', { name: 'Ask' }).click();
  const answer = page.getByRole('article').first();
  await expect(answer).toHaveAttribute('data-state', 'done');
  await expect(answer).toContainText(/[1-9]\d* tokens, \d+ a second/u);
  return (await answer.textContent()) ?? '';
}

test('without WebGPU the processor computes on threads, says why, and can be told to', async ({
  page,
}, info) => {
  await beforeWorker(page, WITHOUT_GPU);
  await page.goto('/');
  await expect(reason(page)).toHaveText(
    /^Computes on the processor \(WebAssembly, \d+ threads\): this browser has no WebGPU\.$/u,
  );
  await expect(page.getByRole('button', { name: 'Run the sample' })).toBeEnabled();
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    await page.screenshot({ path: artifact(info, `first-${scheme}`) });
    await device(page).click();
    await expect(page.getByRole('menuitemradio', { name: /^GPU/u })).toBeDisabled();
    await expect(page.getByRole('menuitemradio', { name: /^Automatic/u })).toBeChecked();
    await page.screenshot({ path: artifact(info, `switch-${scheme}`) });
    expect((await new AxeBuilder({ page }).analyze()).violations).toStrictEqual([]);
    await page.keyboard.press('Escape');
  }
  await device(page).click();
  await page.getByRole('menuitemradio', { name: /^Processor/u }).click();
  await expect(reason(page)).toContainText('chosen by hand');
  await page.reload();
  await expect(reason(page)).toContainText('chosen by hand');
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: artifact(info, 'first-phone') });
  await device(page).click();
  await expect(page.getByRole('menuitemradio', { name: /^Processor/u })).toBeChecked();
  await page.screenshot({ path: artifact(info, 'switch-phone') });
  const overflow = () =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(await overflow()).toBeLessThanOrEqual(0);
});

test('a GPU that was chosen and is not there leads to the processor, with a word about it', async ({
  page,
}) => {
  await chooseDevice(page, 'webgpu');
  await beforeWorker(page, WITHOUT_GPU);
  await page.goto('/');
  await expect(reason(page)).toContainText('the GPU was chosen, but this browser has no WebGPU');
  expect(await ask(page)).toContain('a second');
});

test('a page that is not isolated computes on one thread, with the same answer, and says so', async ({
  page,
}) => {
  await chooseDevice(page, 'wasm');
  await page.goto('/');
  await expect(reason(page)).toContainText('threads)');
  const answers = [await ask(page)];
  const stripped = await page.context().newPage();
  await chooseDevice(stripped, 'wasm');
  await stripped.route('**/*', async (route) => {
    const response = await route.fetch();
    const headers = Object.fromEntries(
      Object.entries(response.headers()).filter(([name]) => !name.startsWith('cross-origin-')),
    );
    await route.fulfill({ response, headers });
  });
  await stripped.goto('/');
  expect(await stripped.evaluate(() => crossOriginIsolated)).toBe(false);
  await expect(reason(stripped)).toHaveText(
    /^Computes on the processor \(WebAssembly, one thread\): chosen by hand; on one thread, since the page is not cross-origin isolated\.$/u,
  );
  answers.push(await ask(stripped));
  const [threads, alone] = answers.map((text) => text.replace(/[\d,]+ a second.*$/su, ''));
  expect(alone).toBe(threads);
  await stripped.close();
});

base('threads that a content security policy refuses leave one that computes', async ({ page }) => {
  await beforeWorker(page, WITHOUT_GPU, { 'content-security-policy': "worker-src 'self'" });
  await page.goto('/');
  await expect(reason(page)).toContainText(/on one thread, since no thread could be started \(.+\)\.$/u);
  expect(await ask(page)).toContain('a second');
});

/** Lets the page end the newest thread, as a browser does that has no memory left. */
const MORTAL = `{
  const threads = [];
  const Plain = self.Worker;
  self.Worker = class extends Plain {
    constructor(...all) {
      super(...all);
      threads.push(this);
    }
  };
  new BroadcastChannel('end a thread').onmessage = () => {
    const thread = threads.at(-1);
    thread.terminate();
    thread.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }));
  };
}
`;

test('a thread that ends: a run goes on by itself, and else the page says so and opens another crew', async ({
  page,
}, info) => {
  await beforeWorker(page, WITHOUT_GPU + MORTAL);
  await shortenRecipe(page, [
    ['data.limit', 24],
    ['data.heldoutLimit', 4],
    ['train.steps', 12],
    ['train.batch', 4],
    ['train.checkpointEvery', 2],
    ['evaluate.accuracy', false],
  ]);
  const endThread = () => page.evaluate(() => new BroadcastChannel('end a thread').postMessage(''));
  await page.goto('/');
  await page.getByRole('button', { name: 'Run the sample' }).click();
  const status = page.getByRole('toolbar', { name: 'Run' }).getByRole('status');
  const distilled = page.getByRole('list', { name: 'Progress' }).getByRole('progressbar', { name: 'Distil' });
  await expect
    .poll(async () => Number(await distilled.getAttribute('aria-valuenow')), { intervals: [50] })
    .toBeGreaterThan(20);
  await endThread();
  await expect(status).toHaveText('Done');
  await expect(device(page)).toContainText('threads)');
  await expect(page.getByRole('region', { name: 'Report' }).locator('tbody tr').first()).toBeVisible();

  await endThread();
  const banner = page.getByRole('alert').filter({ hasText: 'The processor’s threads were lost' });
  await expect(banner).toContainText('out of memory');
  await expect(device(page)).toContainText('Processor lost');
  await page.screenshot({ path: artifact(info, 'lost') });
  await banner.getByRole('button', { name: 'Open it again' }).click();
  await expect(device(page)).toContainText('threads)');
  expect(await ask(page)).toContain('a second');
});

base('where neither can compute the page still opens and says what to do', async ({ page }, info) => {
  await beforeWorker(page, WITHOUT_GPU);
  await page.route('**/assets/kernels*.wasm', (route) => route.fulfill({ status: 404 }));
  await page.goto('/');
  await expect(page.getByText(/^Nothing here can compute: this browser has no WebGPU/u)).toBeVisible();
  await expect(page.getByRole('listitem').filter({ hasText: /chrome:\/\/flags/u })).toBeVisible();
  await expect(page.getByRole('navigation').first()).toBeVisible();
  await expect(device(page)).toContainText('No usable device');
  await page.screenshot({ path: artifact(info, 'no-device') });
});
