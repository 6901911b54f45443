import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemoryStorage } from '../memoryStorage.ts';
import { type Fault, HubServer, type SeenRequest } from '../nodeHubServer.ts';
import type { Storage } from '../storage.ts';
import { readAll } from '../storageHelpers.ts';
import { HubCache, type TransferState } from './cache.ts';
import { HubClient, type HubOptions } from './client.ts';
import { noise, noPatience, repository, shards, weights } from './hubTesting.ts';
import { pinnedText } from './records.ts';
import { parseHubReference } from './reference.ts';

let server: HubServer;
let storage: MemoryStorage;
beforeEach(async () => {
  server = await HubServer.start();
  storage = new MemoryStorage();
});
afterEach(() => server.close());

function cacheOver(options: Partial<HubOptions> & { waits?: number[]; in?: Storage } = {}): HubCache {
  const { waits, in: place = storage, ...rest } = options;
  const client = new HubClient({ endpoints: [server.endpoint], patience: noPatience(waits), ...rest });
  return new HubCache(place, client, () => 1_800_000_000_000);
}

const get = (cache: HubCache, text: string, options = {}) => cache.get(parseHubReference(text), options);
const isFile = ({ path }: SeenRequest) => path.includes('/resolve/') || path.startsWith('/xet/');
const ofCdn = (fault: Fault, times = Number.POSITIVE_INFINITY) => {
  let left = times;
  return ({ host }: SeenRequest) => (host === 'cdn' && left-- > 0 ? fault : undefined);
};
const contents = async (place: Storage) =>
  (await place.list())
    .filter(({ path }) => path.includes('/blobs/'))
    .map(({ path }) => path.split('/').at(-1));

async function weightsIn(cache: HubCache, text = 'hub:a/b'): Promise<Uint8Array | undefined> {
  const record = await get(cache, text);
  const file = await cache.open(record, 'model.safetensors');
  return file ? readAll(file) : undefined;
}

describe('getting a model', () => {
  test('takes what the model needs, once, and finds it again without a network', async () => {
    const commit = server.commit('a/b', repository);
    const states: TransferState[] = [];
    const record = await get(cacheOver(), 'hub:a/b', {
      onProgress: (state: TransferState) => states.push(state),
    });
    expect(record).toMatchObject({
      id: 'a/b',
      commit,
      key: 'safetensors',
      complete: true,
      licence: 'apache-2.0',
    });
    expect(pinnedText(record)).toBe(`hub:a/b@${commit}`);
    expect(record.files.map(({ path }) => path)).toEqual([
      'config.json',
      'tokenizer.json',
      'model.safetensors',
    ]);
    expect(states.at(-1)).toEqual({
      file: 'model.safetensors',
      done: record.bytes,
      total: record.bytes,
      received: record.bytes,
    });
    expect(await weightsIn(cacheOver())).toEqual(weights);
    const asked = server.requests.length;
    expect(server.requests.filter(isFile).filter(({ host }) => host === 'cdn')).toHaveLength(1);
    expect(await weightsIn(cacheOver(), `hub:a/b@${commit}`)).toEqual(weights);
    expect(server.requests).toHaveLength(asked);
    const after = cacheOver();
    await server.close();
    const reasons: string[] = [];
    await get(after, 'hub:a/b', { onStale: (reason: string) => reasons.push(reason) });
    expect(reasons).toEqual([expect.stringContaining('cannot be reached')]);
    expect((await get(new HubCache(storage, undefined), 'hub:a/b')).commit).toBe(commit);
    await expect(get(new HubCache(storage, undefined), 'hub:a/other')).rejects.toMatchObject({
      code: 'missing-file',
    });
  });

  test('takes the parts that an index names, and the list of the tree where a mirror tells no hashes', async () => {
    server.tellsBlobs = false;
    server.commit('a/b', shards);
    const cache = cacheOver();
    const record = await get(cache, 'hub:a/b');
    expect(record.files.map(({ path }) => path).sort()).toEqual(Object.keys(shards).sort());
    for (const file of record.files) expect((await cache.open(record, file.path))?.bytes).toBe(file.bytes);
    expect(await cache.verify(record)).toEqual([]);
    expect(server.requests.filter(({ path }) => path.includes('/tree/'))).toHaveLength(2);
  });

  test('the headers of every file where a mirror knows neither', async () => {
    server.tellsBlobs = false;
    server.commit('a/b', repository);
    server.fault = ({ path }) => (path.includes('/tree/') ? { kind: 'status', status: 404 } : undefined);
    expect(await weightsIn(cacheOver())).toEqual(weights);
  });

  test('an index that names what is not there', async () => {
    const { 'model-00002-of-00002.safetensors': _, ...incomplete } = shards;
    server.commit('a/b', incomplete);
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toMatchObject({
      code: 'missing-file',
      message: expect.stringContaining('model-00002-of-00002.safetensors'),
    });
  });

  test('a GGUF file of a sensible size, or the one that is named', async () => {
    server.commit('a/b', {
      'config.json': '{}',
      'x-Q2_K.gguf': noise(200),
      'x-Q4_K_M.gguf': noise(400),
      'in/x-F16.gguf': noise(900),
      'mmproj-x.gguf': noise(100),
      'x-Q8_0-00001-of-00002.gguf': noise(700),
      'x-Q8_0-00002-of-00002.gguf': noise(100),
      'x-Q6_K-00001-of-00002.gguf': noise(100),
    });
    const cache = cacheOver();
    const look = await cache.look(parseHubReference('hub:a/b'));
    expect(look.variants.map(({ label, bytes }) => [label, bytes])).toEqual([
      ['Q2_K', 200],
      ['Q4_K_M', 400],
      ['Q8_0', 800],
      ['F16', 900],
    ]);
    expect(look.chosen).toBe('x-Q8_0-00001-of-00002.gguf');
    expect((await get(cache, 'hub:a/b')).files).toHaveLength(2);
    expect((await get(cache, 'hub:a/b:f16')).key).toBe('in/x-F16.gguf');
    expect((await get(cache, 'hub:a/b/x-Q2_K.gguf')).key).toBe('x-Q2_K.gguf');
    expect((await cache.look(parseHubReference('hub:a/b'))).here).toEqual([
      'x-Q2_K.gguf',
      'x-Q8_0-00001-of-00002.gguf',
      'in/x-F16.gguf',
    ]);
    await expect(get(cache, 'hub:a/b:Q5_0')).rejects.toThrow(
      /has no variant Q5_0; it has Q2_K, Q4_K_M, Q8_0, F16/u,
    );
    await expect(get(cache, 'hub:a/b/x-Q8_0-00002-of-00002.gguf')).rejects.toThrow(/later part/u);
  });

  test('a renamed repository, a branch, a file of no bytes', async () => {
    server.commit('old/name', repository);
    const commit = server.commit('old/name', { ...repository, 'merges.txt': '' }, 'refs/pr/1');
    server.rename('old/name', 'new/name');
    expect(await weightsIn(cacheOver(), 'hub:old/name@refs/pr/1')).toEqual(weights);
    expect((await get(cacheOver(), 'hub:old/name@refs/pr/1')).commit).toBe(commit);
  });

  test('a new commit of a branch takes only what changed, and the old one stays', async () => {
    const before = server.commit('a/b', repository);
    await get(cacheOver(), 'hub:a/b');
    const commit = server.commit('a/b', { ...repository, 'config.json': '{"new": true}' });
    const asked = server.requests.length;
    expect((await get(cacheOver(), 'hub:a/b')).commit).toBe(commit);
    const files = server.requests.slice(asked).filter(({ path }) => path.startsWith('/a/b/resolve/'));
    expect(files.map(({ path }) => path)).toEqual([`/a/b/resolve/${commit}/config.json`]);
    expect((await get(new HubCache(storage, undefined), `hub:a/b@${before}`)).commit).toBe(before);
  });

  test('a branch that moves between the list and the files changes nothing', async () => {
    const commit = server.commit('a/b', repository);
    server.fault = ({ path }) => {
      if (path.includes('config.json'))
        server.commit('a/b', { ...repository, 'model.safetensors': noise(5000, 9) });
      return undefined;
    };
    expect((await get(cacheOver(), 'hub:a/b')).commit).toBe(commit);
    expect(await weightsIn(cacheOver(), `hub:a/b@${commit}`)).toEqual(weights);
  });
});

describe('what goes wrong', () => {
  test('any connection cut at any byte, again and again', async () => {
    server.commit('a/b', repository);
    // One for each answer with a body, whatever it is of; -1 lets it be.
    const cuts = fc.array(fc.integer({ min: -1, max: weights.length }), { minLength: 1, maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(cuts, async (after) => {
        const left = [...after];
        server.fault = ({ host, path }) => {
          if (host === 'hub' && path.includes('/resolve/')) return undefined;
          const next = left.shift() ?? -1;
          return next < 0 ? undefined : { kind: 'cut', after: next };
        };
        const place = new MemoryStorage();
        const patience = { ...noPatience(), rounds: 20 };
        expect(await weightsIn(cacheOver({ in: place, patience }))).toEqual(weights);
        expect(await contents(place)).toHaveLength(3);
      }),
      { numRuns: 30 },
    );
  });

  test('a part is gone on with, not begun anew', async () => {
    server.commit('a/b', repository);
    server.fault = ofCdn({ kind: 'cut', after: 1234 }, 1);
    await weightsIn(cacheOver());
    const ranges = server.requests.filter(({ host }) => host === 'cdn').map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, 'bytes=1234-']);
  });

  test('a server that always cuts: the part stays and the next start goes on from it', async () => {
    server.commit('a/b', repository);
    let served = 0;
    server.fault = ({ host }) => {
      if (host !== 'cdn') return undefined;
      return served++ === 0 ? { kind: 'cut', after: 3000 } : { kind: 'status', status: 503 };
    };
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toMatchObject({ code: 'no-network' });
    expect(await contents(storage)).toHaveLength(2);
    const [record] = await cacheOver().list();
    expect(record).toMatchObject({ complete: false });
    server.fault = () => undefined;
    const asked = server.requests.length;
    expect(await weightsIn(cacheOver())).toEqual(weights);
    expect(server.requests.slice(asked).find(({ host }) => host === 'cdn')?.headers.range).toBe(
      'bytes=3000-',
    );
  });

  test('a server without ranges', async () => {
    server.commit('a/b', repository);
    let served = 0;
    server.fault = ({ host }) => {
      if (host !== 'cdn') return undefined;
      return served++ === 0 ? { kind: 'cut', after: 2000 } : { kind: 'whole' };
    };
    expect(await weightsIn(cacheOver())).toEqual(weights);
  });

  test('429 with Retry-After, 5xx, an expired address of the CDN', async () => {
    server.commit('a/b', repository);
    const faults: Fault[] = [
      { kind: 'status', status: 429, headers: { 'Retry-After': '7' } },
      { kind: 'status', status: 429, headers: { RateLimit: '"resolvers";r=0;t=9' } },
      { kind: 'status', status: 502 },
      { kind: 'status', status: 403 },
    ];
    server.fault = ({ host }) => (host === 'cdn' ? faults.shift() : undefined);
    const waits: number[] = [];
    expect(await weightsIn(cacheOver({ waits }))).toEqual(weights);
    expect(waits).toHaveLength(4);
    expect(waits[0]).toBeGreaterThanOrEqual(7000);
    expect(waits[1]).toBeGreaterThanOrEqual(9000);
    expect(waits[3]).toBe(3200);
  });

  test('a stalled connection is left', async () => {
    server.commit('a/b', repository);
    server.fault = ofCdn({ kind: 'stall', after: 100 }, 1);
    expect(await weightsIn(cacheOver({ patience: { ...noPatience(), stallMs: 100 } }))).toEqual(weights);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['other bytes', noise(5000, 7), /its content has the sha256/u],
    ['a longer file', noise(6000, 7), /longer than the 5000 bytes/u],
    ['a page', new TextEncoder().encode('<html>log in</html>'), /ends there before byte 19/u],
  ])('%s come once: fetched again; twice: an error, and nothing of it stays', async (_, content, message) => {
    server.commit('a/b', repository);
    server.fault = ofCdn({ kind: 'content', content }, 1);
    expect(await weightsIn(cacheOver({ in: new MemoryStorage() }))).toEqual(weights);
    server.fault = ofCdn({ kind: 'content', content });
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toMatchObject({
      code: 'bad-file',
      message: expect.stringMatching(message),
    });
    const [record] = await cacheOver().list();
    const file = record?.files.find(({ path }) => path === 'model.safetensors');
    expect(await storage.openPart(`hub/a--b/blobs/${file?.hash.hex}`)).toBeNull();
    expect(await contents(storage)).toHaveLength(2);
    server.fault = () => undefined;
    expect(await weightsIn(cacheOver())).toEqual(weights);
  });

  test('a small file with a wrong content', async () => {
    server.commit('a/b', repository);
    server.fault = ({ path }) =>
      path.includes('resolve-cache') && path.includes('config.json')
        ? { kind: 'content', content: noise(23) }
        : undefined;
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toThrow(/config\.json of a\/b .* sha1/u);
  });

  test('a part that was damaged on the disk is thrown away', async () => {
    server.commit('a/b', repository);
    const record = await get(cacheOver({ in: new MemoryStorage() }), 'hub:a/b');
    const file = record.files.find(({ path }) => path === 'model.safetensors');
    const writer = await storage.create(`hub/a--b/blobs/${file?.hash.hex}`);
    await writer.write(noise(4000, 5));
    await writer.abort({ keepPart: true });
    expect(await weightsIn(cacheOver())).toEqual(weights);
  });

  test('a kept file that became shorter is fetched again, one with other bytes is found by verify', async () => {
    server.commit('a/b', repository);
    const cache = cacheOver();
    const record = await get(cache, 'hub:a/b');
    const file = record.files.find(({ path }) => path === 'model.safetensors');
    const overwrite = async (bytes: Uint8Array<ArrayBuffer>) => {
      const writer = await storage.create(`hub/a--b/blobs/${file?.hash.hex}`);
      await writer.write(bytes);
      await writer.commit();
    };
    await overwrite(noise(10));
    expect(await weightsIn(cache)).toEqual(weights);
    await overwrite(noise(5000, 8));
    expect(await cache.verify(record)).toEqual(['model.safetensors']);
    expect(await weightsIn(cache)).toEqual(weights);
    expect(await cache.verify(record)).toEqual([]);
  });

  test('two at once share one download', async () => {
    server.commit('a/b', repository);
    server.fault = ofCdn({ kind: 'slow', bytes: 1000, ms: 5 });
    const notes: unknown[] = [];
    const both = [cacheOver(), cacheOver()].map((cache) =>
      get(cache, 'hub:a/b', { onNote: (note: unknown) => notes.push(note) }),
    );
    const [one, two] = await Promise.all(both);
    expect(two).toEqual(one);
    expect(server.requests.filter(({ host }) => host === 'cdn')).toHaveLength(1);
    expect(notes).toContainEqual({ kind: 'elsewhere', file: 'model.safetensors' });
  });

  test('stopped in the middle, the part stays', async () => {
    server.commit('a/b', repository);
    server.fault = ofCdn({ kind: 'slow', bytes: 500, ms: 5 });
    const abort = new AbortController();
    const onProgress = ({ done }: TransferState) => {
      if (done > 2000) abort.abort();
    };
    await expect(get(cacheOver(), 'hub:a/b', { signal: abort.signal, onProgress })).rejects.toMatchObject({
      code: 'cancelled',
    });
    const [record] = await cacheOver().list();
    expect(await cacheOver().bytesHere(record as NonNullable<typeof record>)).toBeGreaterThan(2000);
    server.fault = () => undefined;
    expect(await weightsIn(cacheOver())).toEqual(weights);
    expect(server.requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9]/u);
  });

  test('gated: what to do is said, and the token goes to the hub alone', async () => {
    server.commit('a/b', repository);
    server.gate('a/b', 'hf_secret');
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toMatchObject({
      code: 'no-access',
      message: expect.stringMatching(/accept its terms at http:\S+\/a\/b.*token/u),
    });
    await expect(get(cacheOver({ token: 'hf_other' }), 'hub:a/b')).rejects.toMatchObject({
      code: 'no-access',
      message: expect.not.stringContaining('hf_other'),
    });
    expect(await weightsIn(cacheOver({ token: 'hf_secret' }))).toEqual(weights);
    const atCdn = server.requests.filter(({ host }) => host === 'cdn');
    expect(atCdn.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    expect(JSON.stringify(await storage.list())).not.toContain('hf_');
  });

  test.each([
    ['hub:a/nothing', 'no-access', /no model a\/nothing/u],
    ['hub:a/b@nothing', 'missing-file', /no revision "nothing"/u],
    ['hub:a/b/nothing.gguf', 'missing-file', /no file nothing\.gguf/u],
    ['hub:a/empty', 'unsupported', /nothing that Alloy reads: its weights are pickled/u],
  ])('%s', async (text, code, message) => {
    server.commit('a/b', repository);
    server.commit('a/empty', { 'config.json': '{}', 'pytorch_model.bin': noise(10) });
    await expect(get(cacheOver(), text)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test('a hub that hangs is not waited for long where its model is here', async () => {
    const commit = server.commit('a/b', repository);
    await get(cacheOver(), 'hub:a/b');
    server.fault = () => ({ kind: 'stall', after: 1 });
    const patience = { ...noPatience(), stallMs: 80 };
    expect((await get(cacheOver({ patience }), 'hub:a/b')).commit).toBe(commit);
    server.commit('a/unknown', repository);
    await expect(get(cacheOver({ patience }), 'hub:a/unknown')).rejects.toMatchObject({ code: 'no-network' });
  });

  test('an endpoint that is something else', async () => {
    server.fault = () => ({ kind: 'content', content: new TextEncoder().encode('<html>') });
    server.commit('a/b', repository);
    await expect(get(cacheOver(), 'hub:a/b')).rejects.toMatchObject({
      code: 'no-network',
      message: expect.stringContaining('no JSON'),
    });
  });
});

describe('mirrors', () => {
  test('the next one takes over when one is down, refuses, or sends rubbish', async () => {
    const mirror = await HubServer.start();
    try {
      server.commit('a/b', repository);
      mirror.commit('a/b', repository);
      const waits: number[] = [];
      const endpoints = ['http://127.0.0.1:9', server.endpoint, mirror.endpoint];
      const fresh = () => cacheOver({ endpoints, waits, in: new MemoryStorage() });
      expect(await weightsIn(fresh())).toEqual(weights);
      server.fault = () => ({ kind: 'status', status: 404 });
      expect(await weightsIn(fresh())).toEqual(weights);
      server.fault = ofCdn({ kind: 'content', content: noise(5000, 4) });
      expect(await weightsIn(fresh())).toEqual(weights);
      server.fault = ofCdn({ kind: 'cut', after: 2500 });
      expect(await weightsIn(fresh())).toEqual(weights);
      expect(waits).toEqual([]);
      const partly = mirror.requests.filter(
        ({ host, headers }) => host === 'cdn' && headers.range === 'bytes=2500-',
      );
      expect(partly).toHaveLength(1);
    } finally {
      await mirror.close();
    }
  });

  test('nothing but the endpoint and where it leads is ever asked', async () => {
    server.commit('a/b', repository);
    const asked = new Set<string>();
    const watching: typeof fetch = (url, init) => {
      asked.add(new URL(String(url)).origin);
      return fetch(url, init);
    };
    await get(cacheOver({ fetch: watching }), 'hub:a/b');
    expect([...asked]).toEqual([server.endpoint]);
  });
});

describe('space', () => {
  /** A storage that holds so many bytes of contents. */
  class SmallStorage extends MemoryStorage {
    readonly #most: number;
    readonly tells: boolean;
    constructor(most: number, tells: boolean) {
      super();
      this.#most = most;
      this.tells = tells;
    }
    async used(): Promise<number> {
      const files = (await this.list()).filter(({ path }) => path.includes('/blobs/'));
      return files.reduce((sum, { bytes }) => sum + bytes, 0);
    }
    override async freeBytes(): Promise<number | null> {
      return this.tells ? Math.max(0, this.#most - (await this.used())) : null;
    }
    override async create(path: string, options: { resume?: boolean } = {}) {
      const writer = await super.create(path, options);
      if (!path.includes('/blobs/')) return writer;
      const most = this.#most - (await this.used());
      const write = writer.write.bind(writer);
      writer.write = async (bytes) => {
        if (writer.bytes + bytes.length > most) {
          const { asStorageError } = await import('../storageHelpers.ts');
          throw asStorageError(new DOMException('full', 'QuotaExceededError'), path);
        }
        await write(bytes);
      };
      return writer;
    }
  }

  test.each([
    ['told before the first byte', true],
    ['met in the middle', false],
  ])('%s: what could go is named, nothing is lost, and after a removal it goes on', async (_, tells) => {
    const most = 4 * 1024 * 1024 + 9000;
    const small = new SmallStorage(tells ? most : 9000, tells);
    server.commit('a/b', repository);
    server.commit('a/old', { ...repository, 'model.safetensors': noise(5000, 3) });
    const cache = cacheOver({ in: small });
    const old = await get(cache, 'hub:a/old');
    const error = await get(cache, 'hub:a/b').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'disk-full' });
    expect((error as Error).message).toMatch(
      new RegExp(
        `^There is no space for a/b .* delete models .*: hub:a/old@${old.commit} \\(5\\.0 kB, last used 2027-01-15\\)`,
        'u',
      ),
    );
    expect(await cache.verify(old)).toEqual([]);
    expect(await cache.remove(old)).toBe(old.bytes);
    expect(await weightsIn(cache)).toEqual(weights);
    expect((await cache.list()).map(({ id }) => id)).toEqual(['a/b']);
  });

  test('contents that another revision needs stay', async () => {
    server.commit('a/b', repository);
    const cache = cacheOver();
    const first = await get(cache, 'hub:a/b');
    server.commit('a/b', { ...repository, 'config.json': '{"new": true}' });
    const second = await get(cache, 'hub:a/b');
    expect(await cache.remove(first)).toBe(repository['config.json'].length);
    expect(await cache.verify(second)).toEqual([]);
    await cache.remove(second);
    expect(await storage.list()).toEqual([]);
  });
});
