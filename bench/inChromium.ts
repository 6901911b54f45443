import { chromium } from '@playwright/test';
import { serve } from '../scripts/setup/serve.mjs';
import { PageEngine } from './pageEngine.ts';

/**
 * Engines in pages that may share memory between threads, one after the other.
 * @param folder the bundled page
 * @param executablePath of the browser
 */
export async function inChromium<R>(
  folder: string,
  executablePath: string,
  names: readonly string[],
  measure: (engines: readonly PageEngine[]) => Promise<R>,
): Promise<R> {
  const { server, url } = await serve(folder);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    const engines = [];
    for (const name of names) engines.push(await PageEngine.open(browser, url, name));
    return await measure(engines);
  } finally {
    await browser.close();
    server.close();
  }
}
