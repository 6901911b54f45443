import { describe, expect, test } from 'vitest';
import type { Tuning } from '../device/device.ts';
import { ON_WASM, runOnDevice, TEST_TUNINGS, testValues } from '../device/testing.ts';
import { attentionBackward, attentionForward } from './attention.ts';
import type { AttentionShape } from './attentionScore.ts';
import { attentionTile, COLUMNS, tileThreads } from './attentionTile.ts';
import { attentionBackwardReference, attentionReference } from './reference/attention.ts';
import { centralDifferences, dotProduct, poisoned, worstError } from './reference/compare.ts';

function shapeOf(over: Partial<AttentionShape>): AttentionShape {
  const base = { batch: 1, tokens: 17, heads: 2, kvHeads: 1, headWidth: 16, window: 0, cap: 0, ...over };
  return { scale: 1 / Math.sqrt(base.headWidth), ...base };
}

const cases: [string, AttentionShape][] = (
  [
    ['one token', { tokens: 1, batch: 3 }],
    ['five tokens', { tokens: 5, heads: 1 }],
    ['a group of three', { tokens: 33, heads: 6, kvHeads: 2, batch: 2 }],
    ['two tiles and a row', { tokens: 65, heads: 2, kvHeads: 2, headWidth: 64 }],
    ['three tiles', { tokens: 150, heads: 2, kvHeads: 1, headWidth: 32, batch: 2 }],
    ['a window of one', { tokens: 17, window: 1 }],
    ['a window within a tile', { tokens: 65, window: 7, headWidth: 24 }],
    ['a window over tiles', { tokens: 150, window: 70, headWidth: 64, heads: 4, kvHeads: 2 }],
    ['a window longer than the text', { tokens: 33, window: 100 }],
    ['a soft cap', { tokens: 33, cap: 1.5, headWidth: 64 }],
    ['a soft cap and a window', { tokens: 65, cap: 2, window: 9, heads: 4 }],
    ['many key heads', { batch: 3, heads: 8, kvHeads: 4, tokens: 71 }],
    [
      'many key heads and a window',
      { batch: 6, heads: 2, kvHeads: 2, tokens: 133, window: 40, headWidth: 7 },
    ],
    ['many key heads and a cap', { batch: 12, heads: 3, tokens: 34, cap: 2, headWidth: 8 }],
    ['heads of 5', { tokens: 43, headWidth: 5, heads: 4, window: 20 }],
    ['heads of 6', { tokens: 35, headWidth: 6, cap: 3 }],
    ['heads of 4', { tokens: 9, headWidth: 4 }],
    ['heads of 36', { tokens: 37, headWidth: 36 }],
    ['heads of 48', { tokens: 37, headWidth: 48 }],
    ['heads of 80', { tokens: 37, headWidth: 80 }],
    ['heads of 96', { tokens: 37, headWidth: 96 }],
    ['heads of 128', { tokens: 70, headWidth: 128 }],
    ['heads of 100', { tokens: 33, headWidth: 100 }],
    ['heads of 1000', { tokens: 34, headWidth: 1000 }],
    ['heads of 256', { tokens: 65, headWidth: 256, window: 40 }],
  ] as const
).map(([name, over]) => [name, shapeOf(over)]);

function inputsOf({ batch, tokens, heads, kvHeads, headWidth }: AttentionShape, size = 1.5) {
  const rows = batch * tokens;
  return {
    q: testValues(rows * heads * headWidth, 1, size),
    k: testValues(rows * kvHeads * headWidth, 2, size),
    v: testValues(rows * kvHeads * headWidth, 3),
    grad: testValues(rows * heads * headWidth, 4),
  };
}

async function runBoth(
  shape: AttentionShape,
  inputs: ReturnType<typeof inputsOf>,
  tuning: Tuning,
  subgroups = true,
) {
  const rows = shape.batch * shape.tokens;
  return runOnDevice(
    {
      ...inputs,
      o: poisoned(inputs.q.length),
      lse: poisoned(rows * shape.heads),
      delta: poisoned(rows * shape.heads),
      dq: poisoned(inputs.q.length),
      dk: poisoned(inputs.k.length),
      dv: poisoned(inputs.v.length),
    },
    (b) =>
      [attentionForward(b, shape, tuning), ...attentionBackward(b, shape, tuning)].map((one) =>
        subgroups ? one : { ...one, kernel: one.kernel.fallback! },
      ),
  );
}

describe('the reference gradients are the central differences', () => {
  test.each([
    { tokens: 5, heads: 4, kvHeads: 2, headWidth: 4, batch: 2 },
    { tokens: 7, window: 3, headWidth: 4 },
    { tokens: 6, cap: 0.8, window: 4, headWidth: 4 },
  ])('%o', (over) => {
    const shape = shapeOf(over);
    const inputs = inputsOf(shape);
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => Float64Array.from(x)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const loss = () => dotProduct(attentionReference({ q, k, v }, shape).o, inputs.grad);
    const want = attentionBackwardReference({ q, k, v }, inputs.grad, shape);
    expect(worstError(want.dq, centralDifferences(q, loss))).toBeLessThan(1e-8);
    expect(worstError(want.dk, centralDifferences(k, loss))).toBeLessThan(1e-8);
    expect(worstError(want.dv, centralDifferences(v, loss))).toBeLessThan(1e-8);
  });
});

describe.each(TEST_TUNINGS)('tuned for %s', (tuning) => {
  // Every tile of the GPU's family compiles for seconds on a software adapter; heads of 65 to 96 are left to the other.
  const run = cases.filter(([, { headWidth }]) => tuning !== 'gpu' || headWidth <= 64 || headWidth > 96);
  test.each(run)('%s agrees with the reference', async (_, shape) => {
    const inputs = inputsOf(shape);
    const out = await runBoth(shape, inputs, tuning);
    const want = attentionReference(inputs, shape);
    const back = attentionBackwardReference(inputs, inputs.grad, shape);
    expect(worstError(out.o, want.o)).toBeLessThan(3e-6);
    expect(worstError(out.lse, want.lse)).toBeLessThan(2e-6);
    expect(worstError(out.dq, back.dq)).toBeLessThan(1e-5);
    expect(worstError(out.dk, back.dk)).toBeLessThan(1e-5);
    expect(worstError(out.dv, back.dv)).toBeLessThan(1e-5);
  });

  test('scores of a thousand stay finite', async () => {
    const shape = shapeOf({ tokens: 40, headWidth: 32, scale: 1 });
    const out = await runBoth(shape, inputsOf(shape, 40), tuning);
    for (const name of ['o', 'lse', 'dq', 'dk', 'dv'] as const) {
      expect(out[name].every(Number.isFinite)).toBe(true);
    }
    expect(Math.max(...out.lse.map(Math.abs))).toBeGreaterThan(1000);
  });

  test('what stands to the right changes nothing on the left', async () => {
    const shape = shapeOf({ tokens: 40, headWidth: 32 });
    const inputs = inputsOf(shape);
    const grad = inputs.grad.map((g, at) => (at < 20 * 64 ? g : 0));
    const other = { ...inputs, grad, k: inputs.k.map((x, at) => (at < 20 * 32 ? x : x * 5)) };
    const [a, b] = [await runBoth(shape, { ...inputs, grad }, tuning), await runBoth(shape, other, tuning)];
    expect(b.o.slice(0, 20 * 64)).toEqual(a.o.slice(0, 20 * 64));
    expect(b.dk.slice(0, 20 * 32)).toEqual(a.dk.slice(0, 20 * 32));
    expect(b.dv.slice(20 * 32).every((x) => x === 0)).toBe(true);
  });
});

test.skipIf(ON_WASM).each([cases[2]!, cases[16]!, cases[9]!])(
  'without subgroups, %s agrees with the reference',
  async (_, shape) => {
    const inputs = inputsOf(shape);
    const out = await runBoth(shape, inputs, 'software', false);
    const back = attentionBackwardReference(inputs, inputs.grad, shape);
    expect(worstError(out.o, attentionReference(inputs, shape).o)).toBeLessThan(3e-6);
    expect(worstError(out.dq, back.dq)).toBeLessThan(1e-5);
    expect(worstError(out.dk, back.dk)).toBeLessThan(1e-5);
    expect(worstError(out.dv, back.dv)).toBeLessThan(1e-5);
  },
);

test.runIf(ON_WASM)('a number that is none reaches every row that sees it', async () => {
  const shape = shapeOf({ tokens: 70, headWidth: 8 });
  const inputs = inputsOf(shape);
  const [ofQuery, ofKey] = [inputs.q.slice(), inputs.k.slice()];
  ofQuery[40 * 16 + 3] = Number.NaN;
  ofKey[66 * 8 + 5] = Number.NaN;
  const isNone = (out: Float32Array, row: number) => out.slice(row * 16, row * 16 + 8).some(Number.isNaN);
  const a = await runBoth(shape, { ...inputs, q: ofQuery }, 'wasm');
  expect([39, 40, 41].map((row) => isNone(a.o, row))).toEqual([false, true, false]);
  expect(isNone(a.dq, 40) && a.dk.slice(0, 41 * 8).every(Number.isNaN)).toBe(true);
  const b = await runBoth(shape, { ...inputs, k: ofKey }, 'wasm');
  expect([31, 66, 69].map((row) => isNone(b.o, row))).toEqual([false, true, true]);
});

test('heads beyond the memory of a thread are refused', () => {
  const buffers = { q: 0, k: 1, v: 2, o: 3, lse: 4 };
  expect(() => attentionForward(buffers, shapeOf({ headWidth: 1601 }), 'wasm')).toThrow('1601');
  expect(() => attentionForward(buffers, shapeOf({ headWidth: 1600 }), 'wasm')).not.toThrow();
});

test('tiles keep to the default limits', () => {
  for (const pass of ['forward', 'queries', 'keys'] as const) {
    for (let width = 4; width <= 256; width += 4) {
      const tile = attentionTile(width, pass)!;
      const bytes = 2 * tileThreads(tile) * tile.across * tile.rows * 4;
      expect(tileThreads(tile)).toBeLessThanOrEqual(256);
      expect(bytes).toBeLessThanOrEqual(16_384);
      expect(tile.parts * tile.chunks * COLUMNS * 4).toBeGreaterThanOrEqual(width);
    }
  }
});

test('heads that no tile fits go to the plain kernels', () => {
  for (const width of [6, 260]) expect(attentionTile(width, 'forward')).toBeUndefined();
});
