import { describe, expect, test } from 'vitest';
import type { Tuning } from '../device/device.ts';
import { ON_WASM, runOnDevice, TEST_TUNINGS, testValues } from '../device/testing.ts';
import {
  attentionCached,
  attentionCachedScratchBytes,
  type CachedAttentionShape,
  cacheWrite,
} from './attentionCached.ts';
import { attentionReference, attentionRowReference } from './reference/attention.ts';
import { poisoned, worstError } from './reference/compare.ts';

type Model = Omit<CachedAttentionShape, 'tokens' | 'scale' | 'capacity'>;

const gqa: Model = { heads: 4, kvHeads: 2, headWidth: 16, window: 0, cap: 0 };
const wide: Model = { heads: 2, kvHeads: 1, headWidth: 64, window: 0, cap: 0 };
const odd: Model = { heads: 3, kvHeads: 1, headWidth: 24, window: 5, cap: 1.2 };
const huge: Model = { heads: 1, kvHeads: 1, headWidth: 256, window: 0, cap: 0 };

const splits: [string, Model, number, number[]][] = [
  ['one by one', gqa, 8, [1, 1, 1, 1, 1]],
  ['a prompt, then one by one', wide, 70, [33, 1, 1, 1]],
  ['padded chunks, a window and a cap', odd, 64, [17, 17, 8, 1, 17]],
  ['few at a time', wide, 200, [5, 7, 8, 65, 3]],
  ['wide heads', huge, 40, [9, 1, 2]],
  ['heads of 6', { ...gqa, headWidth: 6 }, 50, [33, 1, 5]],
  ['ten heads of a key', { ...gqa, heads: 10, kvHeads: 1 }, 300, [150, 1, 3]],
  ['a window over spans', { ...gqa, window: 100 }, 300, [130, 130, 3, 1]],
];

/** Runs a sequence through the cache in parts, every part padded by two rows of NaN where there is room for `pad`. */
async function throughCache(model: Model, capacity: number, parts: number[], pad: number, tuning: Tuning) {
  const total = parts.reduce((a, b) => a + b, 0);
  const { heads, kvHeads, headWidth } = model;
  const [wq, wkv] = [heads * headWidth, kvHeads * headWidth];
  const q = testValues(total * wq, 1, 2);
  const k = testValues(total * wkv, 2, 2);
  const v = testValues(total * wkv, 3);
  const got = new Float32Array(total * wq);
  let [kCache, vCache] = [poisoned(capacity * wkv), poisoned(capacity * wkv)];
  let start = 0;
  for (const valid of parts) {
    const tokens = valid + pad;
    const shape = { ...model, tokens, capacity, scale: 1 / Math.sqrt(headWidth) };
    const rowsOf = (x: Float32Array<ArrayBuffer>, width: number) => {
      const part = new Float32Array(tokens * width).fill(7);
      part.set(x.subarray(start * width, (start + valid) * width));
      return part;
    };
    const out = await runOnDevice(
      {
        q: rowsOf(q, wq),
        k: rowsOf(k, wkv),
        v: rowsOf(v, wkv),
        kCache,
        vCache,
        state: Uint32Array.of(start, valid),
        o: poisoned(tokens * wq),
        scratch: poisoned(attentionCachedScratchBytes(shape, tuning) / 4),
      },
      (b) => [
        cacheWrite(b, { tokens, width: wkv, capacity }),
        ...attentionCached({ ...b, k: b.kCache, v: b.vCache }, shape, tuning),
      ],
    );
    expect(out.o.every(Number.isFinite)).toBe(true);
    got.set(out.o.subarray(0, valid * wq), start * wq);
    ({ kCache, vCache } = out);
    start += valid;
  }
  const written = kCache.findLastIndex((x) => !Number.isNaN(x)) + 1;
  const shape = { ...model, batch: 1, tokens: total, scale: 1 / Math.sqrt(headWidth) };
  return { got, want: attentionReference({ q, k, v }, shape).o, writtenRows: written / wkv, total };
}

describe.each(TEST_TUNINGS)('tuned for %s', (tuning) => {
  test.each(splits)('%s equals attention over the whole text', async (_, model, capacity, parts) => {
    const { got, want, writtenRows, total } = await throughCache(model, capacity, parts, 0, tuning);
    expect(worstError(got, want)).toBeLessThan(3e-6);
    expect(writtenRows).toBe(total);
  });

  test('padding is neither written nor seen', async () => {
    const { got, want, writtenRows, total } = await throughCache(odd, 40, [1, 9, 4, 12], 3, tuning);
    expect(worstError(got, want)).toBeLessThan(3e-6);
    expect(writtenRows).toBe(total);
  });

  test('padding may be more than what is there', async () => {
    const { got, want, writtenRows, total } = await throughCache(gqa, 100, [3, 1], 45, tuning);
    expect(worstError(got, want)).toBeLessThan(3e-6);
    expect(writtenRows).toBe(total);
  });

  test.each([
    [3000, 2999, 0],
    [3000, 64, 0],
    [5000, 4096, 1500],
  ])('a cache of %i at position %i, window %i', async (capacity, start, window) => {
    const shape = { ...gqa, window, tokens: 1, capacity, scale: 0.25 };
    const width = gqa.kvHeads * gqa.headWidth;
    const [q, k, v] = [
      testValues(64, 1, 2),
      testValues(capacity * width, 2, 2),
      testValues(capacity * width, 3),
    ];
    const out = await runOnDevice(
      {
        q,
        k,
        v,
        state: Uint32Array.of(start, 1),
        o: poisoned(64),
        scratch: poisoned(attentionCachedScratchBytes(shape, tuning) / 4),
      },
      (b) => attentionCached(b, shape, tuning),
    );
    const tokens = start + 1;
    const atEnd = new Float32Array(tokens * 64);
    atEnd.set(q, start * 64);
    const want = [0, 1, 2, 3].flatMap((h) => [
      ...attentionRowReference({ q: atEnd, k, v }, { ...shape, batch: 1, tokens }, 0, start, h).o,
    ]);
    expect(worstError(out.o, want)).toBeLessThan(3e-6);
  });
});

test('rows past the capacity are dropped', async () => {
  const k = testValues(12);
  const out = await runOnDevice(
    { k, v: k, kCache: poisoned(16), vCache: poisoned(16), state: Uint32Array.of(2, 3) },
    (b) => [cacheWrite(b, { tokens: 3, width: 4, capacity: 4 })],
  );
  expect(out.kCache.slice(8)).toEqual(k.slice(0, 8));
  expect(out.kCache.slice(0, 8).every(Number.isNaN)).toBe(true);
});

test.skipIf(ON_WASM)('without subgroups the kernel for software adapters gives the same', async () => {
  const shape = {
    heads: 4,
    kvHeads: 2,
    headWidth: 20,
    window: 0,
    cap: 0,
    tokens: 1,
    capacity: 50,
    scale: 0.2,
  };
  const [q, k, v] = [testValues(80, 1, 2), testValues(50 * 40, 2, 2), testValues(50 * 40, 3)];
  const run = (subgroups: boolean) =>
    runOnDevice({ q, k, v, state: Uint32Array.of(44, 1), o: poisoned(80) }, (b) =>
      attentionCached(b, shape, 'software').map((one) =>
        subgroups ? one : { ...one, kernel: one.kernel.fallback ?? one.kernel },
      ),
    );
  const [got, want] = [await run(false), await run(true)];
  expect(worstError(got.o, want.o)).toBeLessThan(1e-6);
});
