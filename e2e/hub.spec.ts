import { readFileSync } from 'node:fs';
import { AxeBuilder } from '@axe-core/playwright';
import { test as base, expect, type Page } from '@playwright/test';
import { HubServer } from '../src/storage/nodeHubServer.ts';
import { artifact } from './page.ts';

/** A built-in model serves as one of the hub: real weights, small enough for a software adapter. */
const CONTENT = readFileSync(new URL('../public/models/meadow/model.gguf', import.meta.url));
const FILE = 'Meadow-Q8_0.gguf';

/** The hub on this machine, and the proof that the page asks nobody but it and its own server. */
const test = base.extend<{ hub: HubServer; atHome: undefined }>({
  // biome-ignore lint/correctness/noEmptyPattern: fixtures have to name what they use by a pattern
  hub: async ({}, use) => {
    const hub = await HubServer.start();
    hub.commit('meadow/Meadow', {
      'README.md': 'A model.',
      [FILE]: CONTENT,
      'Meadow-Q2_K.gguf': CONTENT.subarray(0, 900),
    });
    await use(hub);
    await hub.close().catch(() => undefined);
  },
  atHome: [
    async ({ page, baseURL, hub }, use) => {
      const home = [new URL(baseURL ?? '').origin, hub.endpoint, hub.cdn];
      const strangers: string[] = [];
      page.on('request', (request) => {
        const { protocol, origin } = new URL(request.url());
        if (/^https?:$/u.test(protocol) && !home.includes(origin)) strangers.push(request.url());
      });
      await use(undefined);
      expect(strangers).toStrictEqual([]);
    },
    { auto: true },
  ],
});

async function openHub(page: Page, hub: HubServer, token?: string): Promise<void> {
  await page.goto('/');
  await page.getByRole('button', { name: 'Token and mirrors' }).click();
  await page.getByLabel('Endpoints').fill(hub.endpoint);
  if (token !== undefined) await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Use these' }).click();
  await expect(page.getByLabel('Endpoints')).toHaveCount(0);
}

async function lookUp(page: Page, text: string): Promise<void> {
  const field = page.getByRole('textbox', { name: 'Model id or address' });
  await field.fill(text);
  await field.press('Enter');
}

const card = (page: Page) => page.getByRole('article', { name: 'Meadow-Q8_0' });
const shelf = (page: Page) => page.getByRole('listitem').filter({ hasText: 'meadow/Meadow · Q8_0' });

test('a model comes through a cut and a pause, and works without the hub after a reload', async ({
  page,
  hub,
}, info) => {
  await openHub(page, hub);
  await lookUp(page, `${hub.endpoint}/meadow/Meadow/tree/main`);
  await expect(page.getByRole('radio', { name: /Q8_0/u })).toBeChecked();
  await expect(page.getByText('recommended')).toBeVisible();
  await page.screenshot({ path: artifact(info, 'hub-found') });
  expect((await new AxeBuilder({ page }).analyze()).violations).toStrictEqual([]);

  let served = 0;
  hub.fault = ({ host }) => {
    if (host !== 'cdn') return undefined;
    return served++ === 0
      ? { kind: 'cut', after: 300_001, ms: 500 }
      : { kind: 'slow', bytes: 20_000, ms: 60 };
  };
  await page.getByRole('button', { name: /^Download/u }).click();
  const bar = page.getByRole('progressbar', { name: /^Download of/u });
  const share = async () => Number(await bar.getAttribute('aria-valuenow'));
  await expect.poll(share, { intervals: [100] }).toBeGreaterThan(20);
  await page.screenshot({ path: artifact(info, 'hub-download') });
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await expect(shelf(page).getByRole('button', { name: 'Go on' })).toBeEnabled();
  await expect(card(page)).toHaveCount(0);

  await page.reload();
  hub.fault = () => undefined;
  await shelf(page).getByRole('button', { name: 'Go on' }).click();
  await expect(card(page)).toBeVisible();
  const starts = hub.requests.filter(({ host }) => host === 'cdn').map(({ headers }) => headers.range);
  expect(starts[0]).toBeUndefined();
  expect(starts[1]).toBe('bytes=300001-');
  expect(starts.length).toBeGreaterThanOrEqual(3);
  expect(Number(starts.at(-1)?.match(/\d+/u)?.[0])).toBeGreaterThan(300_001);
  await shelf(page).getByRole('button', { name: 'Check files' }).click();
  await expect(shelf(page)).toContainText('every file has its hash');
  await page.screenshot({ path: artifact(info, 'hub-here') });

  await hub.close();
  await page.reload();
  await card(page).getByText('Pivot', { exact: true }).click();
  await expect(card(page).getByRole('radio', { name: 'Pivot' })).toBeChecked();
  const stages = page.getByRole('navigation', { name: 'Stages' });
  await stages.getByRole('button', { name: /Align/u }).click();
  const lanes = page.getByRole('grid', { name: /^Tokens of / });
  for (const lane of ['pivot', 'source'])
    await expect(lanes.locator(`[data-lane="${lane}"]`).getByRole('gridcell').nth(2)).toBeVisible();
  await page.screenshot({ path: artifact(info, 'hub-align') });
  await stages.getByRole('button', { name: /Models/u }).click();
  await lookUp(page, 'meadow/Meadow');
  await expect(page.getByText('this is what was known before')).toBeVisible({ timeout: 60_000 });

  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = () =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(await overflow()).toBeLessThanOrEqual(0);
  await page.screenshot({ path: artifact(info, 'hub-phone') });
  await page.setViewportSize({ width: 1280, height: 720 });

  await shelf(page)
    .getByRole('button', { name: /^Delete/u })
    .click();
  await shelf(page)
    .getByRole('button', { name: /^Delete/u })
    .click();
  await expect(card(page)).toHaveCount(0);
  const left = await page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('alloy');
    const hubFolder = await root.getDirectoryHandle('hub');
    const names: string[] = [];
    for await (const name of hubFolder.keys()) names.push(name);
    return names;
  });
  expect(left).toStrictEqual([]);
});

test('a gated model: the way to it is told, and the token reaches the hub alone', async ({
  page,
  hub,
}, info) => {
  hub.gate('meadow/Meadow', 'hf_secret');
  await openHub(page, hub);
  await lookUp(page, 'meadow/Meadow');
  await expect(page.getByText('Gated: accept its terms on')).toBeVisible();
  await page.getByRole('button', { name: /^Download/u }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'is gated' });
  await expect(alert).toContainText(`accept its terms at ${hub.endpoint}/meadow/Meadow`);
  await page.screenshot({ path: artifact(info, 'hub-gated') });
  await alert.getByRole('button', { name: 'Give a token' }).click();
  await page.getByLabel('Token', { exact: true }).fill('hf_secret');
  await page.getByRole('button', { name: 'Use these' }).click();
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(card(page)).toBeVisible();
  const withToken = hub.requests.filter(({ headers }) => headers.authorization !== undefined);
  expect(new Set(withToken.map(({ host }) => host))).toStrictEqual(new Set(['hub']));
  expect(hub.requests.some(({ host }) => host === 'cdn')).toBe(true);
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain('hf_secret');
});

test('a wrong content never becomes a model; the next try does', async ({ page, hub }) => {
  await openHub(page, hub);
  hub.fault = ({ host }) =>
    host === 'cdn' ? { kind: 'content', content: new Uint8Array(CONTENT.length) } : undefined;
  await lookUp(page, 'meadow/Meadow');
  await page.getByRole('button', { name: /^Download/u }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'did not come as the hub says' });
  await expect(alert).toContainText('its content has the sha256');
  await expect(card(page)).toHaveCount(0);
  hub.fault = () => undefined;
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(card(page)).toBeVisible();
});

test('a full storage names the models that could go, and goes on after one went', async ({
  page,
  hub,
  baseURL,
}, info) => {
  const attic = readFileSync(new URL('../public/models/attic/model.gguf', import.meta.url));
  hub.commit('attic/Attic', { 'Attic-Q8_0.gguf': attic });
  await openHub(page, hub);
  await lookUp(page, 'meadow/Meadow');
  await page.getByRole('button', { name: /^Download/u }).click();
  await expect(card(page)).toBeVisible();

  await lookUp(page, 'attic/Attic');
  const start = page.getByRole('button', { name: /^Download/u });
  await expect(start).toBeEnabled();
  const devtools = await page.context().newCDPSession(page);
  const origin = new URL(baseURL ?? '').origin;
  await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: CONTENT.length + 500_000 });
  await start.click();
  const alert = page.getByRole('alert').filter({ hasText: 'does not fit into the space' });
  await expect(alert).toContainText('meadow/Meadow · Q8_0');
  await page.screenshot({ path: artifact(info, 'hub-full') });
  expect((await new AxeBuilder({ page }).analyze()).violations).toStrictEqual([]);
  await expect(card(page)).toBeVisible();
  await devtools.send('Storage.overrideQuotaForOrigin', {
    origin,
    quotaSize: attic.length + 1_500_000 + 4_194_304,
  });
  await alert.getByRole('button', { name: /^Delete meadow/u }).click();
  await expect(card(page)).toHaveCount(0);
  await alert.getByRole('button', { name: 'Go on' }).click();
  await expect(page.getByRole('article', { name: 'Attic-Q8_0' })).toBeVisible();
});

test('two tabs that want the same model share one download', async ({ page, hub }) => {
  hub.fault = ({ host }) => (host === 'cdn' ? { kind: 'slow', bytes: 100_000, ms: 120 } : undefined);
  const other = await page.context().newPage();
  for (const tab of [page, other]) {
    await openHub(tab, hub);
    await lookUp(tab, 'meadow/Meadow');
  }
  for (const tab of [page, other]) await tab.getByRole('button', { name: /^Download/u }).click();
  await expect(other.getByText('Another tab is getting this model')).toBeVisible();
  for (const tab of [page, other]) await expect(card(tab)).toBeVisible();
  expect(hub.requests.filter(({ host }) => host === 'cdn')).toHaveLength(1);
});
