import { expect, test } from 'vitest';
import { adviceFor } from './advice.ts';

const agents = {
  chromeLinux:
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  chromeWindows:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  safari:
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15',
  iphone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0 Mobile/15E148 Safari/604.1',
};
const missing = { code: 'no-webgpu', message: 'No WebGPU.' } as const;
const advise = (userAgent: string, hasGpu = false, secure = true) =>
  adviceFor(missing, { userAgent, hasGpu, secure });

test('the steps are those of the browser at hand', () => {
  expect(advise(agents.chromeLinux).steps.join(' ')).toMatch(/chrome:\/\/flags.*--enable-unsafe-webgpu/);
  expect(advise(agents.chromeWindows).steps.join(' ')).not.toMatch(/flags/);
  expect(advise(agents.firefox).steps.join(' ')).toMatch(/dom\.webgpu\.enabled/);
  expect(advise(agents.safari).steps.join(' ')).toMatch(/Feature Flags/);
  expect(advise(agents.iphone).steps.join(' ')).toMatch(/iOS or iPadOS 26/);
  expect(advise('a teapot').steps.length).toBeGreaterThan(0);
});

test('what is missing has a name: browser, adapter, size, address, engine', () => {
  const around = { userAgent: agents.chromeLinux, hasGpu: true, secure: true };
  expect(advise(agents.chromeLinux).title).toBe('This browser has no WebGPU');
  expect(advise(agents.chromeLinux, true).title).toBe('WebGPU found no graphics adapter');
  expect(advise(agents.chromeLinux, false, false).title).toMatch(/secure address/);
  expect(adviceFor({ code: 'unsupported', message: '' }, around).title).toMatch(/too small/);
  expect(adviceFor({ code: 'internal', message: '' }, around).title).toMatch(/did not start/);
});
