import { AxeBuilder } from '@axe-core/playwright';
import type { Locator, Page, TestInfo } from '@playwright/test';
import { artifact, beforeWorker, chooseDevice, expect, shortenRecipe, test, WITHOUT_GPU } from './page.ts';

const MINUTE = 60_000;
/** Between two frames of a run on a software adapter. */
const SLOW = { timeout: 4 * MINUTE };

/** What the sample's recipe becomes: the same pipeline over less. Steps and batch are set in the Fuse stage. */
const SHORTER = [
  ['data.limit', 24],
  ['data.heldoutLimit', 4],
  ['evaluate.maxNewTokens', 6],
] as const;
/** A page that does not answer for so long is noticed. */
const LONGEST_GAP_MS = 500;
const STEPS = 10;
const BATCH = 6;

test('the sample, from four models to a fused one that answers', async ({ page }, info) => {
  test.setTimeout(15 * MINUTE);
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  await shortenRecipe(page, SHORTER);
  // One journey is on WebGPU, also where the adapter is software, and one where there is none.
  if (info.project.name === 'webgpu') await chooseDevice(page, 'webgpu');
  else await beforeWorker(page, WITHOUT_GPU);
  await page.goto('/');
  await test.step('models', () => models(page, info));
  await test.step('settings', () => settings(page));
  await test.step('run', () => run(page, info));
  await test.step('report', () => report(page, info));
  await test.step('align', () => align(page, info));
  await test.step('merge', () => merge(page, info));
  await test.step('chat', () => chat(page, info));
  await test.step('looks', () => looks(page, info));
  await test.step('reload', () => reload(page, info));
  if (info.project.name === 'webgpu') await test.step('the other device', () => otherDevice(page));
});

async function openStage(page: Page, title: string): Promise<void> {
  const button = page
    .getByRole('navigation', { name: 'Stages' })
    .getByRole('button', { name: new RegExp(title) });
  await button.click();
  await expect(button).toHaveAttribute('aria-current', 'page');
}

async function shot(page: Page, info: TestInfo, name: string): Promise<void> {
  await page.screenshot({ path: artifact(info, name), animations: 'disabled' });
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  expect(found).toStrictEqual([]);
}

async function models(page: Page, info: TestInfo): Promise<void> {
  const cards = page.getByRole('article');
  await expect(cards).toHaveCount(4);
  await expect(cards.getByRole('radio', { name: 'Pivot', checked: true })).toHaveCount(1);
  await expect(cards.getByRole('radio', { name: 'Source', checked: true })).toHaveCount(3);
  for (const card of await cards.all()) await expect(card).toContainText(/Parameters\s*[\d.]+\s?M/);
  await expect(page.getByRole('button', { name: 'Run the sample' })).toBeEnabled();
  await shot(page, info, 'models');
  await expectAccessible(page);
}

async function settings(page: Page): Promise<void> {
  await openStage(page, 'Fuse');
  for (const [label, value] of [
    ['Steps', STEPS],
    ['Batch', BATCH],
  ] as const) {
    const field = page.getByLabel(label, { exact: true });
    await field.fill(`${value}`);
    await field.press('Enter');
    await expect(page.getByRole('button', { name: `Reset ${label}` })).toBeVisible();
  }
  await openStage(page, 'Models');
}

/** From the one press to the last curve: live losses, a pause that holds, one step, and on. */
async function run(page: Page, info: TestInfo): Promise<void> {
  await watchGaps(page);
  await page.getByRole('button', { name: 'Run the sample' }).click();
  const bar = page.getByRole('toolbar', { name: 'Run' });
  const status = bar.getByRole('status');
  const distilled = page.getByRole('list', { name: 'Progress' }).getByRole('progressbar', { name: 'Distil' });
  const share = async () => Number(await distilled.getAttribute('aria-valuenow'));
  const losses = page.getByRole('listitem').filter({ hasText: /^\D*\d\.\d{3}$/ });
  await expect(losses).toHaveCount(1, SLOW);
  await expect.poll(share, SLOW).toBeGreaterThan(100 / 4);
  await bar.getByRole('button', { name: 'Pause' }).click();
  await expect(status).toHaveText('Paused');
  const held = await settled(page, share);
  await page.waitForTimeout(2000);
  expect(await share()).toBe(held);
  await expect.poll(() => losses.count()).toBeGreaterThanOrEqual(2);
  await expect(page.locator('figure canvas')).toHaveCount(3);
  await shot(page, info, 'fuse-paused');
  await bar.getByRole('button', { name: 'Step' }).click();
  await expect.poll(share).toBeGreaterThan(held);
  await expect(status).toHaveText('Paused');
  await bar.getByRole('button', { name: 'Resume' }).click();
  await expect(status).toHaveText('Running');
  await expect.poll(share, SLOW).toBe(100);
  await expect(status).toHaveText('Done', SLOW);
  const gaps = await page.evaluate(() => Reflect.get(globalThis, 'gaps') as { timer: number; frame: number });
  info.annotations.push({
    type: 'longest gaps, ms',
    description: `timer ${Math.round(gaps.timer)}, frame ${Math.round(gaps.frame)}`,
  });
  // The page stays at hand while everything computes on the cores that it has, too.
  if (info.project.name === 'processor') {
    expect(gaps.timer).toBeLessThan(LONGEST_GAP_MS);
    expect(gaps.frame).toBeLessThan(LONGEST_GAP_MS);
  }
}

/** Keeps the longest time between two turns of a 50 ms timer, and between two frames. */
async function watchGaps(page: Page): Promise<void> {
  await page.evaluate(() => {
    const gaps = { timer: 0, frame: 0 };
    Object.assign(globalThis, { gaps });
    const last = { timer: performance.now(), frame: performance.now() };
    const mark = (kind: 'timer' | 'frame') => {
      const now = performance.now();
      gaps[kind] = Math.max(gaps[kind], now - last[kind]);
      last[kind] = now;
    };
    setInterval(() => mark('timer'), 50);
    const frame = () => {
      mark('frame');
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}

/** A pause lets the step under way end; the value once it rests. */
async function settled(page: Page, read: () => Promise<number>): Promise<number> {
  let before = Number.NaN;
  for (let tries = 0; tries < 20; tries++) {
    const now = await read();
    if (now === before) return now;
    before = now;
    await page.waitForTimeout(5000);
  }
  throw new Error(`The run went on after it was paused, to ${before} %.`);
}

async function report(page: Page, info: TestInfo): Promise<void> {
  const rows = page.getByRole('region', { name: 'Report' }).locator('tbody tr');
  const roles = await rows.evaluateAll((all) => all.map((row) => row.getAttribute('data-role')));
  expect(new Set(roles)).toStrictEqual(new Set(['pivot', 'source', 'sft', 'target', 'merged']));
  expect(roles.filter((role) => role === 'source')).toHaveLength(3);
  expect(roles.filter((role) => role === 'target')).toHaveLength(3);
  for (const row of await rows.all()) await expect(row.getByRole('cell').first()).toContainText(/\d\.\d{3}/);
  // Four held-out conversations are no ground for a verdict.
  await expect(page.getByText(/^Too few conversations to tell/)).toBeVisible();
  await expect(rows.locator('[data-change="better"], [data-change="worse"]')).toHaveCount(0);
  await shot(page, info, 'report');
  await expectAccessible(page);
}

async function align(page: Page, info: TestInfo): Promise<void> {
  await openStage(page, 'Align');
  const lanes = page.getByRole('grid', { name: /^Tokens of / });
  await expect(lanes).toBeVisible();
  for (const lane of ['pivot', 'source'])
    await expect(lanes.locator(`[data-lane="${lane}"]`).getByRole('gridcell').nth(2)).toBeVisible();
  await expect(page.getByText('Positions with a row')).toBeVisible();
  await expect(page.getByText(/^[\d,]+ of [\d,]+ scored tokens$/)).toBeVisible();
  await lanes.locator('[data-lane="pivot"]').getByRole('gridcell').nth(2).click();
  await shot(page, info, 'align');
  await expectAccessible(page);
}

/** One cell moved by hand moves the live model, and undo brings it back. */
async function merge(page: Page, info: TestInfo): Promise<void> {
  await openStage(page, 'Merge');
  const grids = page.getByRole('grid', { name: /^Merge weights of / });
  await expect(grids).toHaveCount(3);
  const probe = page.getByRole('status', { name: 'Probe' }).locator('strong');
  const tokens = page.getByRole('list', { name: 'Likeliest next tokens of the fused model' });
  await expect(tokens.getByRole('listitem')).toHaveCount(8);
  await expect(probe).toHaveText(/^\d\.\d{4}$/);
  const before = { probe: await probe.textContent(), tokens: await tokens.textContent() };

  const cell = grids.first().getByRole('gridcell').first();
  await cell.click();
  await expect(cell).toHaveAttribute('aria-selected', 'true');
  await setWeight(page, 6);
  await expect(cell).toHaveAttribute('aria-label', /: 6\.000, set by hand$/);
  await expect(probe).not.toHaveText(before.probe ?? '');
  await shot(page, info, 'merge');

  await page.getByTitle('Select all of this source').first().click();
  await setWeight(page, 3);
  await expect.poll(() => tokens.textContent()).not.toBe(before.tokens);

  const undo = page.getByRole('button', { name: 'Undo' });
  while (await undo.isEnabled()) await undo.click();
  await expect(probe).toHaveText(before.probe ?? '');
  await expect.poll(() => tokens.textContent()).toBe(before.tokens);
  await expectAccessible(page);
}

async function setWeight(page: Page, weight: number): Promise<void> {
  const operand = page.getByRole('textbox', { name: 'set the selected weights' });
  await operand.fill(`${weight}`);
  await operand.press('Enter');
}

/** Every column's answer must grow on the page, not come at once. */
async function chat(page: Page, info: TestInfo): Promise<void> {
  await openStage(page, 'Chat');
  await page.getByLabel('Prompt').fill('Hi! Name an animal that has horns.');
  await page.evaluate(() => {
    const seen: Record<string, string[]> = {};
    Object.assign(globalThis, { seenAnswers: seen });
    new MutationObserver(() => {
      for (const answer of document.querySelectorAll('article[aria-label]')) {
        const name = answer.getAttribute('aria-label') ?? '';
        const texts = seen[name] ?? [];
        seen[name] = texts;
        const text = answer.textContent ?? '';
        if (texts.at(-1) !== text) texts.push(text);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await page.getByRole('button', { name: 'Ask' }).click();
  const answers = page.getByRole('article');
  await expect(answers).toHaveCount(3);
  for (const answer of await answers.all()) {
    await expect(answer).toHaveAttribute('data-state', 'done');
    await expect(answer).toContainText(/[1-9]\d* tokens, \d+ a second/);
  }
  const seen: Record<string, string[]> = await page.evaluate(() => Reflect.get(globalThis, 'seenAnswers'));
  expect(Object.keys(seen)).toHaveLength(3);
  // On the processor an answer of a few words takes two or three frames.
  const least = info.project.name === 'webgpu' ? 4 : 2;
  for (const texts of Object.values(seen)) expect(texts.length).toBeGreaterThanOrEqual(least);
  await shot(page, info, 'chat');
}

/** The same in the dark and on a phone: nothing may be wider than the window. */
async function looks(page: Page, info: TestInfo): Promise<void> {
  await page.emulateMedia({ colorScheme: 'dark' });
  const stages: readonly (readonly [string, Locator])[] = [
    ['Merge', page.getByRole('grid').first()],
    ['Fuse', page.getByRole('region', { name: 'Report' })],
  ];
  for (const [stage, shows] of stages) {
    await openStage(page, stage);
    await expect(shows).toBeVisible();
    await shot(page, info, `${stage.toLowerCase()}-dark`);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: 'light' });
  for (const stage of ['Models', 'Align', 'Fuse', 'Merge', 'Chat']) {
    await openStage(page, stage);
    await shot(page, info, `${stage.toLowerCase()}-phone`);
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(overflow, `${stage} on a phone`).toBeLessThanOrEqual(0);
  }
}

/** What was edited and what was run are there again, from the browser's storage and without a step of training. */
async function reload(page: Page, info: TestInfo): Promise<void> {
  await page.setViewportSize({ width: 1280, height: 720 });
  await openStage(page, 'Fuse');
  const numbers = page.getByRole('region', { name: 'Report' }).locator('tbody');
  const before = await numbers.textContent();
  await page.reload();
  const status = page.getByRole('toolbar', { name: 'Run' }).getByRole('status');
  await expect(status).toHaveText('Done', SLOW);
  await expect(numbers).toHaveText(before ?? '');
  await page.getByText('Curves', { exact: true }).click();
  await expect(page.getByLabel('Steps', { exact: true })).toHaveValue(`${STEPS}`);
  await expect(page.getByText('No curves this time')).toBeVisible();
  await openStage(page, 'Merge');
  await expect(page.getByRole('grid', { name: /^Merge weights of / })).toHaveCount(3);
  await expect(page.getByRole('status', { name: 'Probe' }).locator('strong')).toHaveText(/^\d\.\d{4}$/);
  await shot(page, info, 'reloaded');
}

/** The fusion moves to the processor, where the fused model is the same up to rounding. */
async function otherDevice(page: Page): Promise<void> {
  const probe = page.getByRole('status', { name: 'Probe' }).locator('strong');
  const before = Number(await probe.textContent());
  await page.getByRole('button', { name: /^Device:/ }).click();
  await page.getByRole('menuitemradio', { name: /^Processor/ }).click();
  await expect(page.getByRole('button', { name: /^Device: The processor/ })).toBeVisible();
  const off = async () => Math.abs(Number(await probe.textContent()) - before);
  const cell = page
    .getByRole('grid', { name: /^Merge weights of / })
    .first()
    .getByRole('gridcell')
    .first();
  await cell.click();
  await setWeight(page, 6);
  await expect.poll(off).toBeGreaterThan(3e-4);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect.poll(off).toBeLessThan(1.5e-4);
}
