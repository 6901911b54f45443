import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { noPatience } from '../storage/hub/hubTesting.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import { HubServer } from '../storage/nodeHubServer.ts';
import { readAll } from '../storage/storageHelpers.ts';
import type { HubEvent } from './protocol.ts';
import { StudioEngine } from './studioEngine.ts';
import { StudioHub } from './studioHub.ts';
import { tinyHost } from './testing.ts';

const NAMES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];

let server: HubServer;
let storage: MemoryStorage;
let files: Record<string, Uint8Array>;
beforeEach(async () => {
  server = await HubServer.start();
  storage = new MemoryStorage();
  const { openFile } = tinyHost(noGpu);
  files = {};
  for (const name of NAMES) {
    const file = await openFile(`public/models/reader/${name}`);
    if (file) files[name] = await readAll(file);
  }
});
afterEach(() => server.close());

const noGpu = () => Promise.reject(new Error('no GPU is needed'));

function hub(): StudioHub {
  const made = new StudioHub(async () => storage, { patience: noPatience() });
  made.settings({ endpoints: [server.endpoint] });
  return made;
}

test('a model is looked up, downloaded, opened and known to the engine, and goes away again', async () => {
  const commit = server.commit('a/reader', files);
  const studio = hub();
  const info = await studio.look(`${server.endpoint}/a/reader`);
  const reference = `hub:a/reader@${commit}`;
  expect(info).toMatchObject({ id: 'a/reader', revision: 'main', commit, gated: false, freeBytes: null });
  expect(info.forms).toEqual([
    expect.objectContaining({ reference, format: 'safetensors', here: false, chosen: true }),
  ]);
  await expect(studio.open(reference)).rejects.toMatchObject({ code: 'missing-file' });
  const events: HubEvent[] = [];
  const card = await studio.get(reference, (event) => events.push(event));
  expect(card).toMatchObject({
    name: reference,
    title: 'reader',
    family: 'qwen2',
    from: 'a/reader',
    licence: 'apache-2.0',
  });
  expect(card.parameters).toBeGreaterThan(10_000);
  const last = events.at(-1);
  expect(last).toMatchObject({ kind: 'progress', done: card.bytes, total: card.bytes });
  const engine = new StudioEngine(tinyHost(noGpu, storage));
  expect((await engine.models()).map(({ name }) => name)).toEqual(['pivot', 'reader', 'writer', reference]);
  expect(await engine.tokenize(reference, 'the user')).toEqual(await engine.tokenize('reader', 'the user'));
  expect((await engine.hubList()).models).toEqual([
    expect.objectContaining({ reference, revision: 'main', complete: true, bytesHere: card.bytes }),
  ]);
  expect(await engine.hubVerify(reference)).toEqual([]);
  expect(await engine.hubRemove(reference)).toBe(card.bytes);
  expect(await engine.models()).toHaveLength(3);
  await expect(engine.tokenize(reference, 'x')).rejects.toMatchObject({ code: 'missing-file' });
});

test('an ONNX file is a form, and opens as a frozen source', async () => {
  const read = (name: string) => readFileSync(new URL(`../../fixtures/onnx/${name}`, import.meta.url));
  const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx'];
  server.commit('a/frozen', Object.fromEntries(names.map((name) => [name, read(name)])));
  const studio = hub();
  const { forms } = await studio.look('a/frozen');
  expect(forms).toEqual([
    expect.objectContaining({ format: 'onnx', label: 'ONNX', file: 'onnx/model.onnx', chosen: true }),
  ]);
  const card = await studio.get('a/frozen', () => undefined);
  expect(card).toMatchObject({ family: 'onnx', vocab: 320, parameters: 0 });
  expect((await studio.open(card.name)).onnx?.files).toHaveLength(1);
});

test('a download is paused and gone on with; two at once are refused', async () => {
  const commit = server.commit('a/reader', files);
  server.fault = ({ host }) => (host === 'cdn' ? { kind: 'slow', bytes: 20_000, ms: 25 } : undefined);
  const studio = hub();
  const paused = studio.get('hub:a/reader', (event) => {
    if (event.kind === 'progress' && event.file === 'model.safetensors' && event.done > 30_000) studio.stop();
  });
  await expect(studio.get('hub:a/reader', () => undefined)).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(paused).rejects.toMatchObject({ code: 'cancelled' });
  const { models } = await studio.list();
  expect(models).toEqual([expect.objectContaining({ complete: false })]);
  expect(models[0]?.bytesHere).toBeLessThan(models[0]?.bytes ?? 0);
  expect(await studio.cards()).toEqual([]);
  server.fault = () => undefined;
  expect(await studio.get(models[0]?.reference ?? '', () => undefined)).toMatchObject({
    name: `hub:a/reader@${commit}`,
  });
  expect(server.requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9]/u);
});

test('settings that cannot be are refused and the former ones stay', async () => {
  const commit = server.commit('a/reader', files);
  const studio = hub();
  expect(() => studio.settings({ endpoints: ['ftp://x'] })).toThrow(/no endpoint/u);
  expect(() => studio.settings({ token: 'two words' })).toThrow(/characters that no token has/u);
  expect((await studio.look('a/reader')).commit).toBe(commit);
});

test('without the hub, what is known is shown with the reason', async () => {
  const commit = server.commit('a/reader', files);
  const studio = hub();
  await studio.look('a/reader');
  await server.close();
  expect(await studio.look('a/reader')).toMatchObject({
    commit,
    stale: expect.stringContaining('cannot be reached'),
  });
  server = await HubServer.start();
});
