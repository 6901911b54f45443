import { artifact, expect, test } from './page.ts';

test('without WebGPU the page still opens and says what is missing and what to do', async ({
  page,
}, info) => {
  await page.goto('/');
  expect(await page.evaluate(async () => (await navigator.gpu?.requestAdapter()) ?? null)).toBeNull();
  await expect(page.getByText(/WebGPU found no/).first()).toBeVisible();
  await expect(page.getByRole('listitem').filter({ hasText: /chrome:\/\/flags/ })).toBeVisible();
  await expect(page.getByRole('navigation').first()).toBeVisible();
  await page.screenshot({ path: artifact(info, 'no-webgpu') });
});
