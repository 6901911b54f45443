import { describe, expect, test } from 'vitest';
import { httpSource } from './httpSource.ts';

const file = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

/** A server of one file; `asked` collects the ranges. */
function server(options: { ranges?: boolean; tag?: () => string; fail?: number } = {}) {
  const asked: string[] = [];
  let failures = options.fail ?? 0;
  const answer = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    const range = new Headers(init?.headers).get('Range') ?? '';
    asked.push(range);
    if (failures-- > 0) throw new TypeError('network');
    const headers = new Headers({ ETag: options.tag?.() ?? 'a' });
    if (options.ranges === false) return new Response(file, { headers });
    const [start = 0, end = 0] = range.replace('bytes=', '').split('-').map(Number);
    const last = Math.min(end, file.length - 1);
    headers.set('Content-Range', `bytes ${start}-${last}/${file.length}`);
    return new Response(file.slice(start, last + 1), { status: 206, headers });
  };
  return { asked, fetch: answer as typeof fetch };
}

describe('httpSource', () => {
  test('reads by blocks and shares a request between neighbours', async () => {
    const { asked, fetch } = server();
    const source = await httpSource('http://x/models/a.gguf?v=1', undefined, { fetch, blockBytes: 100 });
    expect(source).toMatchObject({ name: 'a.gguf', bytes: 1000 });
    expect(await source?.read(10, 5)).toEqual(file.slice(10, 15));
    expect(await source?.read(500, 60)).toEqual(file.slice(500, 560));
    expect(await source?.read(560, 40)).toEqual(file.slice(560, 600));
    expect(await source?.read(550, 300)).toEqual(file.slice(550, 850));
    expect(await source?.read(990, 10)).toEqual(file.slice(990));
    expect(asked).toEqual(['bytes=0-99', 'bytes=500-599', 'bytes=550-849', 'bytes=990-999']);
    const piece = await source?.read(991, 3);
    expect(piece?.byteOffset).toBe(0);
    expect(piece?.buffer.byteLength).toBe(3);
  });

  test('takes the whole file from a server without ranges', async () => {
    const { asked, fetch } = server({ ranges: false });
    const source = await httpSource('http://x/a.bin', 'a', { fetch, blockBytes: 100 });
    expect(await source?.read(0, 1000)).toEqual(file);
    expect(asked).toHaveLength(1);
  });

  test('a file that is not there is null, also where a page is sent instead', async () => {
    const missing = async () => new Response(null, { status: 404 });
    expect(await httpSource('http://x/a', 'a', { fetch: missing })).toBeNull();
    const page = async () =>
      new Response('<html>', { headers: { 'Content-Type': 'text/html; charset=utf-8' } });
    expect(await httpSource('http://x/chat_template.jinja', undefined, { fetch: page })).toBeNull();
  });

  test('an empty file has no range', async () => {
    const fetch = async () => new Response(null, { status: 416 });
    expect(await httpSource('http://x/a', 'a', { fetch })).toMatchObject({ bytes: 0 });
  });

  test('tries again when the connection fails, and says so in the end', async () => {
    const flaky = server({ fail: 2 });
    const options = { blockBytes: 100, pausesMs: [0, 0] };
    expect(await httpSource('http://x/a', 'a', { ...options, fetch: flaky.fetch })).toMatchObject({
      bytes: 1000,
    });
    const dead = server({ fail: 9 });
    await expect(httpSource('http://x/a', 'a', { ...options, fetch: dead.fetch })).rejects.toMatchObject({
      code: 'missing-file',
      message: expect.stringContaining('http://x/a'),
    });
    expect(dead.asked).toHaveLength(3);
    const refused = async () => new Response(null, { status: 403 });
    await expect(httpSource('http://x/a', 'a', { ...options, fetch: refused })).rejects.toMatchObject({
      code: 'missing-file',
    });
  });

  test('refuses a file that changes while it is read, and ranges outside', async () => {
    let version = 0;
    const { fetch } = server({ tag: () => `v${version++}` });
    const source = await httpSource('http://x/a', 'a', { fetch, blockBytes: 100 });
    await expect(source?.read(200, 10)).rejects.toMatchObject({ code: 'bad-file' });
    await expect(source?.read(995, 10)).rejects.toMatchObject({ code: 'bad-file' });
  });
});
