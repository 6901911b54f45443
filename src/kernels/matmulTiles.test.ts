import { expect, test } from 'vitest';
import { PaperDevice } from '../device/paperDevice.ts';
import { testDevice, testValues } from '../device/testing.ts';
import { matmulNT, matmulTN } from './matmul.ts';
import { openTiles, retile, type TileStore, tilesOf } from './matmulTiles.ts';
import { worstError } from './reference/compare.ts';

function memoryStore(text?: string): TileStore & { text: string | undefined } {
  return {
    text,
    async read() {
      return this.text;
    },
    async write(written) {
      this.text = written;
    },
  };
}

/** A timer under which the candidate at `place` wins clearly. */
const winner = (place: number) => async (_: unknown, candidates: readonly unknown[]) =>
  candidates.map((_, at) => (at === place ? 1 : 2));

const paper = (description = 'a GPU') => new PaperDevice({ info: { description } });
const F32 = { kind: 'f32' } as const;

function product(m: number, n: number, k: number) {
  return matmulNT({ x: 'x', weight: { format: F32, data: 'w' }, y: 'y' }, { m, n, k }, 'gpu');
}

test('the fastest is used, kept, and found again without timing', async () => {
  const store = memoryStore();
  const device = paper();
  await openTiles(device, store, winner(3));
  expect(new Set(Object.values(tilesOf(device)))).toEqual(new Set([3]));
  const again = paper();
  await openTiles(again, store, () => Promise.reject(new Error('timed again')));
  expect(tilesOf(again)).toEqual(tilesOf(device));
});

test('another adapter is timed for itself and both are kept', async () => {
  const store = memoryStore();
  await openTiles(paper('one'), store, winner(3));
  await openTiles(paper('two'), store, winner(2));
  const [one, two] = [paper('one'), paper('two')];
  for (const device of [one, two])
    await openTiles(device, store, () => Promise.reject(new Error('timed again')));
  expect(tilesOf(one)).not.toEqual(tilesOf(two));
});

test('what is not clearly faster leaves the default', async () => {
  const device = paper();
  await openTiles(device, memoryStore(), async (_, candidates) => candidates.map((_, at) => 1 - 0.01 * at));
  const dispatch = product(2048, 2048, 64);
  expect(retile([dispatch], tilesOf(device))[0]?.kernel.name).toBe(dispatch.kernel.name);
});

test.each([
  '{',
  'null',
  '{"version":0,"adapters":{}}',
  '{"version":1,"adapters":{"   a GPU":{"nt.plain.full":99}}}',
])('a store that holds %s is timed anew', async (text) => {
  const device = paper();
  await openTiles(device, memoryStore(text), winner(2));
  expect(tilesOf(device)['nt.plain.full']).toBe(2);
});

test('nothing is tuned on software adapters or where it cannot be kept', async () => {
  const software = new PaperDevice({ info: { tuning: 'software' } });
  await openTiles(software, memoryStore(), winner(2));
  expect(tilesOf(software)).toEqual({});
  const device = paper();
  const full = { read: async () => undefined, write: () => Promise.reject(new Error('full')) };
  await openTiles(device, full, winner(2));
  expect(tilesOf(device)).toEqual({});
});

test('products with a tile of their own choice, and slivers, stay', async () => {
  const device = paper();
  await openTiles(device, memoryStore(), winner(2));
  const strategy = { kind: 'direct', threadRows: 8, threadCols: 8, share: true } as const;
  const own = matmulNT(
    { x: 'x', weight: { format: F32, data: 'w' }, y: 'y' },
    { m: 512, n: 512, k: 64, strategy },
    'gpu',
  );
  const sliver = matmulTN({ dy: 'dy', x: 'x', dw: 'dw' }, { m: 4096, n: 16, k: 64 }, 'gpu');
  const row = product(1, 512, 512);
  expect(retile([own, sliver, row], tilesOf(device)).map(({ kernel }) => kernel.name)).toEqual(
    [own, sliver, row].map(({ kernel }) => kernel.name),
  );
});

test('every candidate gives the same product', async () => {
  const device = await testDevice();
  const [m, n, k] = [70, 41, 48];
  const [x, w] = [testValues(m * k, 1), testValues(n * k, 2)];
  const buffers = {
    x: device.createFrom(x, 'x'),
    w: device.createFrom(w, 'w'),
    y: device.createBuffer(4 * m * n, 'y'),
  };
  const dispatch = matmulNT(
    { x: buffers.x, weight: { format: F32, data: buffers.w }, y: buffers.y },
    { m, n, k },
    'gpu',
  );
  const results: Float32Array[] = [];
  for (const place of [0, 2]) {
    device.run(retile([dispatch], { 'nt.plain.few': place }));
    results.push(await device.downloadF32(buffers.y, m * n));
  }
  for (const one of results.slice(1)) expect(worstError(one, [...results[0]!])).toBeLessThan(1e-6);
  for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
});
