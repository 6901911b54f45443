import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRelease, sourceFor } from './apt.mjs';
import { isInstalled } from './modules.mjs';
import { parseRange, resolveFile, serve } from './serve.mjs';
import { playwrightCounts, vitestCounts } from './summary.mjs';
import { devicesOf } from './testProjects.mjs';

const DEB822 = `# a comment: with a colon
Types: deb deb-src
# another
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`;

describe('the apt source of another suite', () => {
  test('deb822: the stanza of the release, with its mirror and key', () => {
    expect(
      sourceFor([{ name: 'debian.sources', text: DEB822 }], 'bookworm', 'bookworm-backports'),
    ).toStrictEqual({
      name: 'bookworm-backports.sources',
      text:
        'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n' +
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n',
    });
  });

  test('deb822: a key inside the stanza stays', () => {
    const text =
      'Types: deb\nURIs: https://deb.example/debian/\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n abc\n';
    const source = sourceFor([{ name: 'x.sources', text }], 'bookworm', 'bookworm-backports');
    expect(source).toMatchObject({
      text: expect.stringContaining('Signed-By:\n -----BEGIN-----\n .\n abc\n'),
    });
  });

  test('one-line format: options stay, sources of others are passed over', () => {
    const text = `# deb http://commented.example/debian bookworm main
deb [arch=amd64] https://download.example/linux/debian bookworm stable
deb https://apt.vendor.example bookworm main
deb-src http://mirror.example/debian bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/d bookworm main contrib # main
`;
    expect(sourceFor([{ name: 'sources.list', text }], 'bookworm', 'bookworm-backports')).toStrictEqual({
      name: 'bookworm-backports.list',
      text: 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/d bookworm-backports main\n',
    });
  });

  test('nothing is added when it is there, and nothing made up when the release has no source', () => {
    const present = DEB822.replace('bookworm-updates', 'bookworm-backports');
    expect(sourceFor([{ name: 'a.sources', text: present }], 'bookworm', 'bookworm-backports')).toBe(
      'present',
    );
    const disabled = present.replace('Types: deb deb-src', 'Enabled: no\nTypes: deb');
    expect(
      sourceFor([{ name: 'a.sources', text: disabled }], 'bookworm', 'bookworm-backports'),
    ).toBeUndefined();
    expect(
      sourceFor([{ name: 'a.sources.off', text: DEB822 }], 'bookworm', 'bookworm-backports'),
    ).toBeUndefined();
  });

  test('the release', () => {
    expect(
      parseRelease('PRETTY_NAME="D"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'),
    ).toStrictEqual({
      id: 'debian',
      version: 12,
      codename: 'bookworm',
    });
    expect(parseRelease('ID=arch\n').version).toBeNaN();
  });
});

test('installed packages: versions must agree, other platforms may be absent', () => {
  const wanted = {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b-win': { version: '2.0.0', optional: true },
  };
  expect(isInstalled(wanted, { 'node_modules/a': { version: '1.0.0' } })).toBe(true);
  expect(isInstalled(wanted, { 'node_modules/a': { version: '1.0.1' } })).toBe(false);
  expect(isInstalled(wanted, { 'node_modules/b-win': { version: '2.0.0' } })).toBe(false);
  const old = { 'node_modules/a': { version: '1.0.0' }, 'node_modules/b-win': { version: '1.0.0' } };
  expect(isInstalled(wanted, old)).toBe(false);
});

test('the lockfile names no registry, and every package that another platform needs', () => {
  const text = readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8');
  expect(text).not.toContain('"resolved"');
  const packages = JSON.parse(text).packages as Record<
    string,
    { version?: string; optionalDependencies?: Record<string, string> }
  >;
  const names = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')));
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => !names.has(name));
  // npm ci refuses a lockfile without them, and a laptop with another system would lack its binaries.
  expect(missing).toStrictEqual([]);
  expect(Object.entries(packages).filter(([path, { version }]) => path !== '' && !version)).toStrictEqual([]);
});

describe('the summary', () => {
  test('counts of the reports', () => {
    const vitest = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1, numTodoTests: 1 };
    expect(vitestCounts(vitest, 0)).toStrictEqual({ passed: 3, failed: 0, skipped: 2 });
    const playwright = { stats: { expected: 2, flaky: 1, unexpected: 1, skipped: 0 } };
    expect(playwrightCounts(playwright, 1)).toStrictEqual({ passed: 3, failed: 1, skipped: 0 });
  });

  test('a run that failed without a failing test, or without a report, counts as a failure', () => {
    const vitest = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 };
    expect(vitestCounts(vitest, 1)).toStrictEqual({ passed: 3, failed: 1, skipped: 0 });
    expect(playwrightCounts(undefined, 1)).toStrictEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});

test.each([
  ['src/kernels/a.test.ts', "import { testDevice } from '../device/testing.ts';", true, true],
  ['src/kernels/a.test.ts', "import {\n  testDevice,\n} from '../device/testing.ts';", true, true],
  ['bench/a.test.ts', "import { provideNavigatorGpu } from './navigatorGpu.ts';", true, false],
  ['src/formats/a.test.ts', "import { bytes } from './testing.ts';", false, false],
  ['src/device/a.test.ts', "import { testDevice } from '../testing.ts';", true, true],
  ['src/cli/a.test.ts', "import { runCli } from './run.ts';", true, true],
  ['src/studio/state/a.test.ts', "import { startRun } from './run.ts';", false, false],
  ['src/a/a.test.ts', "import { openDawn } from '../device/webgpu/dawn.ts';", true, false],
  [
    'src/a/a.test.ts',
    "import { openDawn } from '../device/webgpu/dawn.ts';\ntest.skipIf(ON_WASM)",
    true,
    true,
  ],
  [
    'src/architecture.test.ts',
    "test('a', () => \"import { testDevice } from '../device/testing.ts';\");",
    false,
    false,
  ],
])('%s with %s needs a device: %s, any: %s', (file, text, any, wasm) => {
  expect(devicesOf(file, text)).toStrictEqual({ any, wasm });
});

test('ranges', () => {
  expect(parseRange(undefined, 10)).toBe('whole');
  expect(parseRange('bytes=0-3', 10)).toStrictEqual({ start: 0, end: 3 });
  expect(parseRange('bytes=4-', 10)).toStrictEqual({ start: 4, end: 9 });
  expect(parseRange('bytes=-4', 10)).toStrictEqual({ start: 6, end: 9 });
  expect(parseRange('bytes=-40', 10)).toStrictEqual({ start: 0, end: 9 });
  expect(parseRange('bytes=8-100', 10)).toStrictEqual({ start: 8, end: 9 });
  expect(parseRange('bytes=10-', 10)).toBe('unsatisfiable');
  expect(parseRange('bytes=-0', 10)).toBe('unsatisfiable');
  for (const header of ['bytes=5-2', 'bytes=-', 'bytes=0-1,3-4', 'items=0-1'])
    expect(parseRange(header, 10)).toBe('whole');
});

test('no address leads out of the served folder', () => {
  expect(resolveFile('/srv/app', '/')).toBe(join('/srv/app', 'index.html'));
  expect(resolveFile('/srv/app', '/a%20b.js?x=1')).toBe(join('/srv/app', 'a b.js'));
  for (const url of ['/../secret', '/%2e%2e/secret', '/..%2fsecret', '/a/..%2f..%2fsecret']) {
    expect(resolveFile('/srv/app', url) ?? join('/srv/app', 'inside')).toContain(join('/srv/app', '/'));
  }
  expect(resolveFile('/srv/app', '/a%00.js')).toBeUndefined();
  expect(resolveFile('/srv/app', '/%zz')).toBeUndefined();
});

describe('the server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'alloy-serve-'));
  let served: Awaited<ReturnType<typeof serve>>;

  beforeAll(async () => {
    writeFileSync(join(folder, 'index.html'), '<p>hello');
    writeFileSync(
      join(folder, 'model.safetensors'),
      Uint8Array.from({ length: 100 }, (_, index) => index),
    );
    writeFileSync(join(folder, 'empty.bin'), '');
    served = await serve(folder);
  });

  afterAll(async () => {
    served.server.closeAllConnections();
    await new Promise((resolve) => served.server.close(resolve));
    rmSync(folder, { recursive: true });
  });

  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(new URL(path, served.url), { headers, method });

  test('pages come isolated and revalidated', async () => {
    const response = await get('/');
    expect(await response.text()).toBe('<p>hello');
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('cross-origin-opener-policy')).toBe('same-origin');
    expect(response.headers.get('cross-origin-embedder-policy')).toBe('require-corp');
    const again = await get('/', { 'If-None-Match': response.headers.get('etag') ?? '' });
    expect(again.status).toBe(304);
  });

  test('parts of a file', async () => {
    const response = await get('/model.safetensors', { Range: 'bytes=10-13' });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe('bytes 10-13/100');
    expect([...new Uint8Array(await response.arrayBuffer())]).toStrictEqual([10, 11, 12, 13]);
    expect((await get('/model.safetensors', { Range: 'bytes=100-' })).status).toBe(416);
    const head = await get('/model.safetensors', {}, 'HEAD');
    expect([head.headers.get('content-length'), (await head.arrayBuffer()).byteLength]).toStrictEqual([
      '100',
      0,
    ]);
  });

  test('what is not there, what is not a file, what is not reading', async () => {
    expect((await get('/missing.js')).status).toBe(404);
    expect((await get('/index.html/')).status).toBe(404);
    expect((await get('/', {}, 'POST')).status).toBe(405);
    const empty = await get('/empty.bin');
    expect([empty.status, await empty.text()]).toStrictEqual([200, '']);
    const { hostname, port } = new URL(served.url);
    const status = await new Promise((resolve) => {
      request({ hostname, port, path: '/../package.json' }, (response) => resolve(response.statusCode)).end();
    });
    expect(status).toBe(404);
  });
});
