import { artifact, expect, test } from './page.ts';

test('the studio opens, isolated, with a WebGPU adapter and nothing to complain about', async ({
  page,
}, info) => {
  await page.goto('/');
  await expect(page).toHaveTitle(/Alloy/);
  await expect(page.getByRole('navigation').first()).toBeVisible();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await page.evaluate(async () => (await navigator.gpu.requestAdapter()) !== null)).toBe(true);
  await page.screenshot({ path: artifact(info, 'open') });
});
