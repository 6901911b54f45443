import { artifact, expect, test } from './page.ts';

test('the studio opens, isolated, with a WebGPU adapter and nothing to complain about', async ({
  page,
}, info) => {
  await page.goto('/');
  await expect(page).toHaveTitle(/Alloy/);
  await expect(page.getByRole('navigation').first()).toBeVisible();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await page.evaluate(async () => (await navigator.gpu.requestAdapter()) !== null)).toBe(true);
  // Where the adapter is software, the processor's own device is the better choice.
  const reason = page.getByText(/^Computes on /u);
  await expect(reason).toHaveText(
    /: (a GPU is there|the only WebGPU adapter is software \(.*\), on which the processor's own device is faster)\.$/u,
  );
  await page.screenshot({ path: artifact(info, 'open') });
  await page.getByRole('button', { name: /^Device:/u }).click();
  await page.getByRole('menuitemradio', { name: /^GPU/u }).click();
  await expect(reason).toHaveText(/: chosen by hand\.$/u);
  await expect(page.getByRole('button', { name: /^Device: (?!The processor)/u })).toBeVisible();
});
