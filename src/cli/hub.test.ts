import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type HubContent, HubServer } from '../storage/nodeHubServer.ts';
import { runCli } from './run.ts';
import { fakeTerminal, type TinyModel, writeConversations, writeModel } from './testing.ts';

const RECIPE = `name: from the hub
pivot: hub:a/pivot
sources: ['hub:a/source']
data: { train: [train.jsonl], heldout: [dev.jsonl] }
train: { rank: 2, steps: 2, batch: 2, maxTokens: 64, matrices: [q] }
evaluate: { maxNewTokens: 2, bootstrap: 100 }
`;

let folder = '';
let server: HubServer;
let model: HubContent;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-hub-'));
  model = files({ family: 'llama', merges: ['t h', 'th e'], seed: 1 });
  server = await HubServer.start();
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A random model's files; they lie in the folder `tiny`, too. */
function files(tiny: TinyModel): HubContent {
  const place = join(folder, 'tiny');
  writeModel(place, tiny);
  return Object.fromEntries(readdirSync(place).map((name) => [name, readFileSync(join(place, name))]));
}

async function alloy(argv: readonly string[], environment?: NodeJS.ProcessEnv) {
  const terminal = fakeTerminal(folder, {
    ALLOY_CACHE: join(folder, 'cache'),
    ...(environment ?? { HF_ENDPOINT: server.endpoint }),
  });
  const code = await runCli(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

/** Every complete file of the cache that is a content, with whether its name is its hash. */
function contents(): { path: string; right: boolean }[] {
  const found = readdirSync(join(folder, 'cache'), { recursive: true, encoding: 'utf8' });
  return found
    .filter((path) => path.includes('/blobs/') && !/\.(?:part|lock)$/u.test(path))
    .map((path) => {
      const bytes = readFileSync(join(folder, 'cache', path));
      const name = path.split('/').at(-1);
      const git = Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]);
      const hashes = [
        createHash('sha256').update(bytes).digest('hex'),
        createHash('sha1').update(git).digest('hex'),
      ];
      return { path, right: hashes.some((hash) => hash === name) };
    });
}

describe('a model of the hub', () => {
  test('is planned from its config, before its weights are fetched', async () => {
    server.commit('a/tiny', model);
    const plan = async (name: string) =>
      JSON.parse((await alloy(['plan', name, '--tokens', '64', '--json'])).stdout) as { uses: unknown[] };
    const { uses } = await plan('hub:a/tiny');
    expect(server.requests.some(({ path }) => path.includes('safetensors'))).toBe(false);
    expect(uses).toEqual((await plan('tiny')).uses);
  });

  test('is opened by id, by revision, by address, and again without the hub', async () => {
    const commit = server.commit('a/tiny', model);
    const local = await alloy(['tokenize', 'tiny', '--text', 'the thing', '--json']);
    for (const reference of ['hub:a/tiny', `hub:a/tiny@${commit}`, `${server.endpoint}/a/tiny/tree/main`]) {
      const found = await alloy(['tokenize', reference, '--text', 'the thing', '--json']);
      expect(found).toEqual({ ...local, stderr: expect.any(String) });
    }
    await server.close();
    const asked = server.requests.length;
    const offline = await alloy(['tokenize', 'hub:a/tiny', '--text', 'the thing', '--json', '--offline'], {
      HF_ENDPOINT: 'http://127.0.0.1:9',
    });
    expect(offline).toMatchObject({ code: 0, stdout: local.stdout });
    const unreachable = await alloy(['tokenize', 'hub:a/tiny', '--text', 'the thing', '--json'], {
      HF_ENDPOINT: 'http://127.0.0.1:9',
    });
    expect(unreachable).toMatchObject({
      code: 0,
      stdout: local.stdout,
      stderr: expect.stringContaining('Using what was got before'),
    });
    expect(server.requests).toHaveLength(asked);
    server = await HubServer.start();
  });

  test('what options say holds before what the environment says', async () => {
    server.commit('a/tiny', model);
    server.commit('a/tiny', { ...model, 'config.json': '{}' }, 'broken');
    server.gate('a/tiny', 'hf_right');
    const show = (...argv: string[]) =>
      alloy(['models', 'get', 'hub:a/tiny', ...argv], {
        HF_ENDPOINT: 'http://127.0.0.1:9',
        HF_TOKEN: 'hf_wrong',
      });
    expect(await show('--endpoint', server.endpoint)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('no access'),
    });
    const right = ['--endpoint', `http://127.0.0.1:9, ${server.endpoint}/`, '--token', 'hf_right'];
    expect(await show(...right)).toMatchObject({ code: 0 });
    expect((await show(...right, '--revision', 'broken')).stdout).toContain('"broken"');
    expect(await show(...right, '--endpoint', 'nowhere')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('no endpoint'),
    });
    const broken = await alloy([
      'tokenize',
      'hub:a/tiny',
      '--revision',
      'broken',
      '--offline',
      '--text',
      'x',
    ]);
    expect(broken).toMatchObject({ code: 3, stderr: expect.stringContaining('hub:a/tiny/config.json') });
    expect((await alloy(['tokenize', 'https://example.org/a/tiny', '--text', 'x'])).stderr).toContain(
      'no address of the hub',
    );
  });

  test('is shown, got, listed, verified and deleted', async () => {
    const commit = server.commit('a/tiny', model);
    const shown = await alloy(['models', 'show', 'hub:a/tiny', '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      id: 'a/tiny',
      commit,
      variants: [{ key: 'safetensors', here: false, chosen: true }],
    });
    expect((await alloy(['models', 'show', 'hub:a/tiny'])).stdout).toContain(commit);
    const got = await alloy(['models', 'get', 'hub:a/tiny']);
    expect(got).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`hub:a/tiny@${commit} is here: 4 files`),
    });
    expect(got.stderr).toMatch(/Getting hub:a\/tiny: model\.safetensors, .* kB of .* kB/u);
    expect(contents().every(({ right }) => right)).toBe(true);
    const listed = JSON.parse((await alloy(['models', '--json'])).stdout) as { name: string }[];
    expect(listed).toContainEqual(
      expect.objectContaining({
        name: `hub:a/tiny@${commit}`,
        from: 'hub',
        complete: true,
        revision: 'main',
        licence: 'apache-2.0',
      }),
    );
    expect((await alloy(['models'])).stdout).toContain(`hub:a/tiny@${commit}`);
    expect(await alloy(['models', 'verify'])).toMatchObject({ code: 0 });
    const file =
      contents().find(({ path }) => statSync(join(folder, 'cache', path)).size > 10_000)?.path ?? '';
    const bytes = readFileSync(join(folder, 'cache', file));
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(join(folder, 'cache', file), bytes);
    expect(await alloy(['models', 'verify', 'hub:a/tiny'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('damaged'),
    });
    expect(await alloy(['models', 'get', 'hub:a/tiny'])).toMatchObject({ code: 0 });
    expect(await alloy(['models', 'rm', 'hub:a/tiny'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('are free'),
    });
    expect(readdirSync(join(folder, 'cache', 'hub'))).toEqual([]);
    expect(await alloy(['models', 'rm', 'hub:a/tiny'])).toMatchObject({ code: 3 });
    for (const wrong of [
      ['models', 'fly'],
      ['models', 'get'],
      ['models', 'get', 'a', 'b'],
      ['models', 'list', 'x'],
    ])
      expect((await alloy(wrong)).code).toBe(2);
  });

  test('a gated one wants a token, which nothing shows', async () => {
    server.commit('a/tiny', model);
    server.gate('a/tiny', 'hf_secret');
    const refused = await alloy(['models', 'get', 'hub:a/tiny']);
    expect(refused).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/accept its terms at .*HF_TOKEN/u),
    });
    const got = await alloy(['models', 'get', 'hub:a/tiny', '--json'], {
      HF_TOKEN: 'hf_secret',
      HF_ENDPOINT: server.endpoint,
    });
    expect(got.code).toBe(0);
    expect(got.stdout + got.stderr).not.toContain('hf_secret');
    for (const path of readdirSync(join(folder, 'cache'), { recursive: true, encoding: 'utf8' })) {
      const full = join(folder, 'cache', path);
      if (statSync(full).isFile()) expect(readFileSync(full).includes('hf_secret')).toBe(false);
    }
  });

  test('what is wrong is never kept', async () => {
    server.commit('a/tiny', model);
    server.fault = ({ host }) =>
      host === 'cdn' ? { kind: 'content', content: new Uint8Array(5000) } : undefined;
    expect(await alloy(['tokenize', 'hub:a/tiny', '--text', 'x'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('did not come as the hub says'),
    });
    expect(contents().every(({ right }) => right)).toBe(true);
    server.fault = () => undefined;
    expect(await alloy(['tokenize', 'hub:a/tiny', '--text', 'x'])).toMatchObject({ code: 0 });
  });

  test('a run names what it used to the commit and the hash, and a branch that moved changes nothing', async () => {
    const pivot = server.commit('a/pivot', model);
    const source = server.commit('a/source', files({ family: 'qwen2', merges: [], seed: 2 }));
    writeConversations(join(folder, 'train.jsonl'), 4);
    writeConversations(join(folder, 'dev.jsonl'), 2, 100);
    writeFileSync(join(folder, 'recipe.yaml'), RECIPE);
    expect(await alloy(['fuse', 'recipe.yaml', '--out', 'run'])).toMatchObject({ code: 0 });
    const read = (name: string) => readFileSync(join(folder, 'run', name), 'utf8');
    expect(read('recipe.yaml')).toContain(`pivot: hub:a/pivot@${pivot}`);
    expect(read('recipe.yaml')).toContain(`hub:a/source@${source}`);
    const { models } = JSON.parse(read('models.json')) as {
      models: { reference: string; files: { hash: string }[] }[];
    };
    expect(models.map(({ reference }) => reference)).toEqual([
      `hub:a/pivot@${pivot}`,
      `hub:a/source@${source}`,
    ]);
    for (const file of models.flatMap((one) => one.files))
      expect(file.hash).toMatch(/^(?:sha256:[\da-f]{64}|sha1:[\da-f]{40})$/u);
    server.commit('a/pivot', files({ family: 'llama', merges: [], seed: 7 }));
    const score = await alloy(['score', 'run', '--text', 'a thing', '--json']);
    expect(score).toMatchObject({ code: 0 });
    const again = await alloy([
      'fuse',
      'run/recipe.yaml',
      '--out',
      'again',
      '--store',
      'run/.alloy',
      '--offline',
      '--json',
    ]);
    expect(again).toMatchObject({ code: 0 });
    expect((JSON.parse(again.stdout) as { reused: number }).reused).toBeGreaterThan(5);
  });

  test('Ctrl-C keeps what came', async () => {
    server.commit('a/tiny', model);
    server.fault = ({ host }) => (host === 'cdn' ? { kind: 'slow', bytes: 2000, ms: 10 } : undefined);
    const terminal = fakeTerminal(folder, {
      ALLOY_CACHE: join(folder, 'cache'),
      HF_ENDPOINT: server.endpoint,
    });
    const running = runCli(['models', 'get', 'hub:a/tiny'], terminal);
    await expect.poll(() => server.requests.some(({ host }) => host === 'cdn')).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 60));
    terminal.interrupt();
    expect(await running).toBe(130);
    server.fault = () => undefined;
    expect((await alloy(['models'])).stdout).toContain('What is not complete goes on with');
    expect((await alloy(['models', 'get', 'hub:a/tiny'])).code).toBe(0);
    expect(server.requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9]/u);
  });
});

describe('processes', () => {
  const main = new URL('../../scripts/alloy.mjs', import.meta.url).pathname;

  function start(...argv: string[]) {
    const env = { ...process.env, ALLOY_CACHE: join(folder, 'cache'), HF_ENDPOINT: server.endpoint };
    const child = spawn(process.execPath, [main, ...argv], {
      env,
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const ended = new Promise<{ code: number | null; stderr: string }>((resolve) =>
      child.on('close', (code) => resolve({ code, stderr })),
    );
    return { child, ended };
  }

  test('one that is killed leaves a part that the next goes on with; two at once share a download', async () => {
    server.commit('a/tiny', model);
    server.fault = ({ host }) => (host === 'cdn' ? { kind: 'slow', bytes: 4000, ms: 20 } : undefined);
    const first = start('models', 'get', 'hub:a/tiny');
    await expect
      .poll(() => server.requests.some(({ host }) => host === 'cdn'), { timeout: 20_000 })
      .toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 100));
    first.child.kill('SIGKILL');
    await first.ended;
    expect(contents().every(({ right }) => right)).toBe(true);
    const asked = server.requests.length;
    const both = [start('models', 'get', 'hub:a/tiny'), start('models', 'get', 'hub:a/tiny')];
    const ends = await Promise.all(both.map(({ ended }) => ended));
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
    const later = server.requests.slice(asked).filter(({ host }) => host === 'cdn');
    expect(later.map(({ headers }) => headers.range)).toEqual([expect.stringMatching(/^bytes=[1-9]/u)]);
    expect(contents()).toHaveLength(4);
    expect(contents().every(({ right }) => right)).toBe(true);
  });
});
