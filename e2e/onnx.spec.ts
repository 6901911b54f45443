/** ONNX sources in a browser: on the engine's own GPU device, on another one, on the CPU beside either device; and none of it before it is needed. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'vite';
import type { OnnxComparison } from './onnxHarness.ts';
import { expect, test } from './page.ts';

const FIXTURE = join(import.meta.dirname, '../fixtures/onnx');
const TYPES: Readonly<Record<string, string>> = { js: 'text/javascript', wasm: 'application/wasm' };

type Body = string | Uint8Array;

/** The harness as a browser loads it, file by file. */
async function buildHarness(): Promise<Map<string, Body>> {
  const result = await build({
    configFile: false,
    logLevel: 'error',
    base: './',
    build: {
      write: false,
      target: 'es2023',
      minify: false,
      rolldownOptions: {
        input: join(import.meta.dirname, 'onnxHarness.ts'),
        output: { entryFileNames: 'harness.js' },
      },
    },
  });
  const outputs = Array.isArray(result) ? result : [result];
  const files = new Map<string, Body>();
  for (const one of outputs) {
    if (!('output' in one)) continue;
    for (const file of one.output) files.set(file.fileName, file.type === 'chunk' ? file.code : file.source);
  }
  return files;
}

let harness: Map<string, Body>;
test.beforeAll(async () => {
  harness = await buildHarness();
});

test('the page fetches nothing of the runtime before it is needed', async ({ page }) => {
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await page.goto('./', { waitUntil: 'networkidle' });
  expect(asked.length).toBeGreaterThan(3);
  expect(asked.filter((path) => /onnx|\/ort/u.test(path))).toStrictEqual([]);
});

const cases = [
  ['webgpu', ['shared'], "on the engine's GPU device"],
  ['webgpu', ['own'], 'on a GPU device of its own'],
  ['webgpu', ['wasm'], 'on the CPU'],
  ['wasm', ['shared', 'own', 'wasm'], 'on the CPU'],
] as const;

for (const [device, places, words] of cases) {
  test(`rows through onnxruntime-web are ours: ${device}, ${places.join(', ')}`, async ({ page }) => {
    await page.route('**/onnx-harness/**', async (route) => {
      const name = new URL(route.request().url()).pathname.replace(/^.*\/onnx-harness\//u, '');
      const body =
        harness.get(name) ??
        (name === 'index.html' ? '<script type="module" src="harness.js"></script>' : '');
      const contentType = TYPES[name.split('.').at(-1) ?? ''] ?? 'text/html';
      await route.fulfill({ contentType, body: typeof body === 'string' ? body : Buffer.from(body) });
    });
    await page.route('**/onnx-fixture/**', async (route) => {
      const path = join(FIXTURE, new URL(route.request().url()).pathname.replace(/^.*\/onnx-fixture\//u, ''));
      if (existsSync(path))
        await route.fulfill({ contentType: 'application/octet-stream', body: readFileSync(path) });
      else await route.fulfill({ contentType: 'text/html', body: '' });
    });
    await page.goto('./onnx-harness/index.html');
    await page.waitForFunction(() => 'compareOnnx' in globalThis);
    const { status, largestDifference } = await page.evaluate(
      ([kind, some]) => {
        const { compareOnnx } = globalThis as unknown as {
          compareOnnx(device: string, places: readonly string[]): Promise<OnnxComparison>;
        };
        return compareOnnx(kind, some);
      },
      [device, places] as const,
    );
    expect(status).toContain(words);
    expect(largestDifference).toBeLessThan(1e-3);
  });
}
