import { expect, test } from 'vitest';
import { runOnDevice, testValues } from '../device/testing.ts';
import { cacheWrite } from './attentionCached.ts';
import { poisoned } from './reference/compare.ts';
import { rope } from './rope.ts';
import { ropeIntoCache } from './ropeIntoCache.ts';

test.each([
  { tokens: 1, heads: 9, kvHeads: 3, headWidth: 64, half: 32, capacity: 20, start: 7, valid: 1 },
  { tokens: 3, heads: 4, kvHeads: 1, headWidth: 20, half: 5, capacity: 12, start: 4, valid: 2 },
  { tokens: 5, heads: 2, kvHeads: 2, headWidth: 6, half: 3, capacity: 8, start: 5, valid: 5 },
])('equals rope and cacheWrite: %o', async ({ start, valid, ...shape }) => {
  const { tokens, heads, kvHeads, headWidth, half, capacity } = shape;
  const width = kvHeads * headWidth;
  const arrays = () => ({
    table: testValues(2 * half * (start + tokens), 9),
    state: Uint32Array.of(start, valid),
    q: testValues(tokens * heads * headWidth, 1),
    k: testValues(tokens * width, 2),
    v: testValues(tokens * width, 3),
    kCache: poisoned(capacity * width),
    vCache: poisoned(capacity * width),
  });
  const got = await runOnDevice(arrays(), (b) => [ropeIntoCache(b, shape)]);
  const place = { rows: tokens, tokens, headWidth, rot: 2 * half };
  const want = await runOnDevice(arrays(), (b) => [
    rope({ x: b.q, table: b.table, state: b.state }, { ...place, heads }),
    rope({ x: b.k, table: b.table, state: b.state }, { ...place, heads: kvHeads }),
    cacheWrite(b, { tokens, width, capacity }),
  ]);
  for (const name of ['q', 'kCache', 'vCache'] as const) expect(got.bits(name)).toEqual(want.bits(name));
});
