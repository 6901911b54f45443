import type { Browser, Page } from '@playwright/test';
import type { AskedEngine, Reply, Request } from './requests.ts';

/** An engine in a page of its own; see `page/page.ts`. */
export class PageEngine implements AskedEngine {
  readonly name: string;
  readonly #page: Page;

  private constructor(name: string, page: Page) {
    this.name = name;
    this.#page = page;
  }

  /** @param address of the served page */
  static async open(browser: Browser, address: string, name: string): Promise<PageEngine> {
    const page = await browser.newPage();
    await page.goto(`${address}?engine=${encodeURIComponent(name)}`);
    await page.waitForFunction('globalThis.answer !== undefined');
    const engine = new PageEngine(name, page);
    await engine.ask({ kind: 'open' });
    return engine;
  }

  async ask(request: Request): Promise<Reply> {
    const reply = await this.#page.evaluate(
      (asked) => (globalThis as unknown as { answer(one: unknown): Promise<Reply> }).answer(asked),
      request,
    );
    if (reply.error !== undefined) throw new Error(`${this.name}: ${reply.error}`);
    return reply;
  }

  close(): void {
    this.#page.close();
  }
}
