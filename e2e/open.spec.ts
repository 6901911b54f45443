import { artifact, expect, test } from './page.ts';

test('the studio opens, isolated, with a WebGPU adapter and nothing to complain about', async ({
  page,
}, info) => {
  await page.goto('/');
  await expect(page).toHaveTitle(/Alloy/);
  await expect(page.getByRole('navigation').first()).toBeVisible();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await page.evaluate(async () => (await navigator.gpu.requestAdapter()) !== null)).toBe(true);
  // The adapter is software, so the processor's own device is the better choice.
  await expect(
    page.getByText(/^Computes on the processor .*: the only WebGPU adapter is software/u),
  ).toBeVisible();
  await page.screenshot({ path: artifact(info, 'open') });
  await page.getByRole('button', { name: /^Device:/u }).click();
  await page.getByRole('menuitemradio', { name: /^GPU/u }).click();
  await expect(page.getByText(/^Computes on .*: chosen by hand\.$/u)).toBeVisible();
  await expect(page.getByRole('button', { name: /^Device: .*software, slow/u })).toBeVisible();
});
