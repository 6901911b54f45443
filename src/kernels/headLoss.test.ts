import { describe, expect, test } from 'vitest';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { runOnDevice, testValues } from '../device/testing.ts';
import { headLoss } from './headLoss.ts';
import { centralDifferences, poisoned, worstError } from './reference/compare.ts';
import { type HeadLossCase, headLossReference } from './reference/headLoss.ts';

type Teacher = NonNullable<HeadLossCase['teacher']>;

/** Row 0 has a label among the kept ids, 1 one that is not, 2 no label, 3 no teacher, 4 weights 0, 5 nothing; then again. */
function makeCase(
  rows: number,
  vocabulary: number,
  { mode, kept, cap }: { mode: Teacher['mode']; kept: number; cap?: number },
  renormalised = false,
): HeadLossCase {
  const scale = 6;
  const logits = testValues(rows * vocabulary, rows + vocabulary, scale);
  const ids = new Uint32Array(rows * kept);
  const probs = new Float32Array(rows * kept);
  const counts = new Uint32Array(rows);
  const labels = new Int32Array(rows);
  const weights = new Float32Array(rows * 2);
  for (let row = 0; row < rows; row++) {
    const kind = row % 6;
    const used = kind === 3 || kind === 5 ? 0 : Math.min(kept, vocabulary, 1 + ((row * 5) % kept));
    counts[row] = used;
    const raw = testValues(kept, row + 7).map((x) => Math.abs(x) + 0.01);
    const total = raw.slice(0, used).reduce((a, b) => a + b, 0);
    for (let e = 0; e < kept; e++) {
      ids[row * kept + e] = e < used ? (row * 31 + e * 257) % vocabulary : 0xffff_ffff;
      probs[row * kept + e] = e < used ? ((raw[e] ?? 0) / total) * (renormalised ? 1 : 0.85) : Number.NaN;
    }
    const unique = new Set(ids.slice(row * kept, row * kept + used));
    if (unique.size < used) counts[row] = 1;
    labels[row] =
      kind === 0 ? (ids[row * kept] ?? 0) : kind === 2 || kind === 5 ? -100 : (row * 131 + 17) % vocabulary;
    weights.set(kind === 4 ? [0, 0] : [0.9 / rows, 0.1 / rows], row * 2);
  }
  const teacher = { mode, kept, ids, probs, counts };
  return { rows, vocabulary, logits, labels, weights, teacher, ...(cap ? { cap } : {}) };
}

async function runCase(given: HeadLossCase, rowStart = 0, gradient = true) {
  const { rows, vocabulary, teacher, cap } = given;
  const shifted = <T extends Float32Array | Uint32Array | Int32Array>(
    values: ArrayLike<number>,
    make: (n: number) => T,
    width: number,
  ) => {
    const out = make(values.length + rowStart * width);
    out.set(values as never, rowStart * width);
    return out;
  };
  const f32 = (n: number) => new Float32Array(n);
  const u32 = (n: number) => new Uint32Array(n);
  const arrays = {
    logits: Float32Array.from(given.logits),
    labels: shifted(given.labels, (n) => new Int32Array(n), 1) as Int32Array<ArrayBuffer>,
    weights: shifted(given.weights, f32, 2) as Float32Array<ArrayBuffer>,
    losses: poisoned((rowStart + rows) * 2),
    stats: poisoned((rowStart + rows) * 4),
    ids: shifted(teacher?.ids ?? [0], u32, teacher?.kept ?? 0) as Uint32Array<ArrayBuffer>,
    probs: shifted(teacher?.probs ?? [0], f32, teacher?.kept ?? 0) as Float32Array<ArrayBuffer>,
    counts: shifted(teacher?.counts ?? [0], u32, 1) as Uint32Array<ArrayBuffer>,
  };
  const out = await runOnDevice(arrays, (b) => {
    const { logits, labels, weights, losses, stats, ids, probs, counts } = b;
    const rowsOf = teacher ? { teacher: { ...teacher, ids, probs, counts } } : {};
    return headLoss<DeviceBuffer>(
      { logits, labels, weights, losses, stats, ...rowsOf },
      { rowStart, chunkRows: rows, vocabulary },
      { gradient, ...(cap ? { cap } : {}) },
    );
  });
  return {
    losses: out.losses.slice(rowStart * 2),
    lse: out.stats.slice(rowStart * 4).filter((_, i) => i % 4 === 0),
    logits: out.logits,
  };
}

function tailOnly(t: number[], q: number[], label = -1, weights = [0, 1]): HeadLossCase {
  return {
    rows: 1,
    vocabulary: q.length,
    logits: Float64Array.from(q, Math.log),
    labels: [label],
    weights,
    teacher: { mode: 'tail', kept: t.length, ids: t.map((_, i) => i), probs: t, counts: [t.length] },
  };
}

describe('reference', () => {
  test('the worked example of the sparse loss', () => {
    const given: HeadLossCase = {
      rows: 3,
      vocabulary: 3,
      logits: [2, 1, 0, 0.5, 1.5, -0.5, 9, 9, 9],
      labels: [1, 2, -100],
      weights: [0.45, 0.05, 0.45, 0.05, 0, 0],
      teacher: {
        mode: 'sparse',
        kept: 3,
        ids: [0, 1, 2, 0, 1, 2, 0, 0, 0],
        probs: [0.2, 0.7, 0.1, 0.1, 0.3, 0.6, 0, 0, 0],
        counts: [3, 3, 0],
      },
    };
    const { losses, gradient } = headLossReference(given);
    expect((losses[0]! + losses[2]!) / 2).toBeCloseTo(1.907606, 6);
    expect(losses[1]).toBeCloseTo(1.307606, 6);
    expect(losses[3]).toBeCloseTo(1.707606, 6);
    const total = [0, 1, 2, 3].reduce((sum, i) => sum + losses[i]! * [0.45, 0.05][i % 2]!, 0);
    expect(total).toBeCloseTo(1.867606, 6);
    const want = [0.32262, -0.362636, 0.040015, 0.117364, 0.31762, -0.434985, 0, 0, 0];
    expect(worstError(gradient, want)).toBeLessThan(2e-6);
  });

  test('the worked example of the tail bucket', () => {
    const q = [0.5, 0.3, 0.05, 0.04, 0.11];
    const { losses, gradient } = headLossReference(tailOnly([0.62, 0.2, 0.08], q));
    expect(losses[1]).toBeCloseTo(1.0999, 4);
    expect(worstError(gradient.slice(0, 4), [-0.12, 0.1, -0.03, 0.04 / 3])).toBeLessThan(1e-6);
    const explicit = headLossReference(tailOnly([0.62, 0.2, 0.08, 0.06], q));
    expect(explicit.losses[1]).toBeCloseTo(1.1916, 4);
    expect(explicit.gradient[3]).toBeCloseTo(-0.02, 6);
  });

  test.each(['sparse', 'tail'] as const)('%s: the gradient is the derivative of the loss', (mode) => {
    for (const cap of [0, 4]) {
      const given = makeCase(6, 11, { mode, kept: 4, cap });
      const logits = Float64Array.from(given.logits);
      const weighted = () =>
        headLossReference({ ...given, logits }).losses.reduce(
          (sum, loss, i) => sum + loss * given.weights[i]!,
          0,
        );
      const numeric = centralDifferences(logits, weighted);
      expect(worstError(headLossReference({ ...given, logits }).gradient, numeric)).toBeLessThan(1e-7);
    }
  });
});

describe('kernel', () => {
  const shapes = [
    [1, 1, 1],
    [3, 7, 3],
    [7, 255, 5],
    [13, 1031, 10],
    [6, 4097, 32],
    [6, 49_157, 255],
  ] as const;
  const variants = (['sparse', 'tail'] as const).flatMap((mode) =>
    shapes.flatMap(([rows, vocabulary, kept]) => [
      { mode, rows, vocabulary, kept, cap: 0 },
      { mode, rows, vocabulary, kept, cap: 5 },
    ]),
  );

  test.each(variants)('$mode [$rows, $vocabulary], $kept kept, cap $cap', async (variant) => {
    const given = makeCase(variant.rows, variant.vocabulary, variant, variant.rows % 2 === 0);
    const want = headLossReference(given);
    const got = await runCase(given, 2);
    expect(worstError(got.losses, want.losses)).toBeLessThan(2e-6);
    expect(worstError(got.lse, want.lse)).toBeLessThan(1e-6);
    expect(worstError(got.logits, want.gradient)).toBeLessThan(5e-6);
    for (let row = 4; row < variant.rows; row += 6)
      for (let j = 0; j < variant.vocabulary; j++)
        if (got.logits[row * variant.vocabulary + j] !== 0) expect.unreachable(`row ${row} is not 0 at ${j}`);
  });

  test('without a teacher, and without a gradient', async () => {
    const { teacher: _, ...given } = makeCase(6, 777, { mode: 'sparse', kept: 1 });
    const want = headLossReference(given);
    const got = await runCase(given);
    expect(worstError(got.losses, want.losses)).toBeLessThan(2e-6);
    expect(worstError(got.logits, want.gradient)).toBeLessThan(5e-6);
    const silent = await runCase(given, 0, false);
    expect(silent.logits).toEqual(Float32Array.from(given.logits));
    expect(silent.losses).toEqual(got.losses);
  });

  test('a tiny tail keeps its digits, and the quotient is capped', async () => {
    // q of the rest is 3e-5 although 1 − Σq of the kept ids would lose two digits of it.
    const sharp = tailOnly([0.5, 0.5 - 2 ** -13], [0.6, 0.39997, 1e-5, 2e-5], 2, [0.5, 0.5]);
    const got = await runCase(sharp);
    const want = headLossReference(sharp);
    expect(worstError(got.losses, want.losses)).toBeLessThan(2e-6);
    expect(worstError(got.logits, want.gradient)).toBeLessThan(2e-6);
    expect(Math.abs(got.logits[3]! / want.gradient[3]! - 1)).toBeLessThan(1e-5);
    const flat = tailOnly([0.1], [0.9999995, 5e-7]);
    const capped = await runCase(flat);
    expect(capped.losses[1]).toBeCloseTo(-0.9 * Math.log(1e-6), 4);
    expect(capped.logits[1]! / 5e-7).toBeCloseTo(1 - 10, 4);
  });

  test('logits far apart and far from 0 stay finite', async () => {
    const given: HeadLossCase = {
      ...makeCase(4, 300, { mode: 'tail', kept: 4 }),
      logits: testValues(4 * 300, 3, 1).map((x) => x * 2e4 + 1e5),
    };
    const want = headLossReference(given);
    const got = await runCase(given);
    expect(worstError(got.losses, want.losses)).toBeLessThan(1e-5);
    expect(got.logits.every(Number.isFinite)).toBe(true);
  });

  test.each(['sparse', 'tail'] as const)(
    '%s: a logit that is NaN or infinite makes the losses of its row NaN',
    async (mode) => {
      for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY])
        for (const at of [0, 41, 98]) {
          const given = { ...makeCase(3, 99, { mode, kept: 4 }), labels: [5, 6, 7] };
          const logits = Float32Array.from(given.logits);
          logits[99 + at] = wrong;
          const { losses } = await runCase({ ...given, logits });
          expect([...losses].map(Number.isFinite)).toEqual([true, true, false, false, true, true]);
        }
    },
  );
});
