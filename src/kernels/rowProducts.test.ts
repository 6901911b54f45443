import { describe, expect, test } from 'vitest';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { ON_WASM, testDevice, testValues } from '../device/testing.ts';
import { packMatrix } from './quantize.ts';
import { poisoned, worstError } from './reference/compare.ts';
import { rowProducts, rowProductsBuffers } from './rowProducts.ts';
import { formatName, unpack, type WeightFormat } from './weightFormat.ts';

const F32: WeightFormat = { kind: 'f32' };
const F16: WeightFormat = { kind: 'f16' };
const affine = (bits: 4 | 8, group: 16 | 32, scales: 'f16' | 'f32'): WeightFormat => ({
  kind: 'affine',
  bits,
  group,
  scales,
});

interface Case {
  readonly format: WeightFormat;
  readonly m: number;
  readonly k: number;
  readonly n: readonly number[];
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly norm?: boolean;
  readonly gate?: boolean;
}

function reference(
  { m, k, n, norm, gate }: Case,
  x: Float32Array,
  w: Float32Array[],
  extra: Extra,
): number[][] {
  const mean = x.reduce((sum, value) => sum + value * value, 0) / k;
  const scale = norm ? 1 / Math.sqrt(mean + 1e-5) : 1;
  const input = Float64Array.from(x, (value, at) =>
    norm ? value * scale * (1 + extra.norm[at % k]!) : value,
  );
  const outputs = n.map((columns, p) =>
    Array.from({ length: m * columns }, (_, at) => {
      const [i, j] = [Math.floor(at / columns), at % columns];
      let sum = (extra.bias[p]?.[j] ?? 0) + (extra.residual?.[at] ?? 0);
      for (let c = 0; c < k; c++) sum += input[i * k + c]! * w[p]![j * k + c]!;
      return sum;
    }),
  );
  if (!gate) return outputs;
  return [outputs[0]!.map((z, at) => (z / (1 + Math.exp(-z))) * outputs[1]![at]!)];
}

interface Extra {
  readonly norm: Float32Array;
  readonly bias: readonly Float32Array[];
  readonly residual: Float32Array | undefined;
}

async function check(one: Case, tuning: 'software' | 'gpu', subgroups = true): Promise<void> {
  const { format, m, k, n, bias, residual, norm, gate } = one;
  const device = await testDevice();
  const owned: DeviceBuffer[] = [];
  const own = (data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>, label: string) => {
    owned.push(device.createFrom(data, label));
    return owned.at(-1)!;
  };
  const packed = n.map((columns, p) => packMatrix(testValues(columns * k, p + 3, 0.2), columns, k, format));
  const x = testValues(m * k, 1);
  const extra: Extra = {
    norm: testValues(k, 50, 0.3),
    bias: bias ? n.map((columns, p) => testValues(columns, 60 + p)) : [],
    residual: residual ? testValues(m * n[0]!, 70) : undefined,
  };
  const outs = n.map((columns) => own(poisoned(m * columns), 'y'));
  const parts = packed.map(({ data, scales }, p) => ({
    n: n[p]!,
    weight: { format, data: own(data, 'w'), scales: scales && own(scales, 'scales') },
    y: outs[p]!,
    bias: extra.bias[p] && own(extra.bias[p] as Float32Array<ArrayBuffer>, 'bias'),
    residual: extra.residual && own(extra.residual as Float32Array<ArrayBuffer>, 'residual'),
  }));
  const products = {
    x: own(x, 'x'),
    m,
    k,
    parts,
    norm: norm
      ? { weight: own(extra.norm as Float32Array<ArrayBuffer>, 'norm'), eps: 1e-5, offset: 1 }
      : undefined,
    gate: gate ? ('silu' as const) : undefined,
  };
  const made = rowProducts(products, tuning);
  expect(Object.keys(made.buffers)).toHaveLength(rowProductsBuffers(products));
  device.run([subgroups ? made : { ...made, kernel: made.kernel.fallback! }]);
  const want = reference(one, x, packed.map(unpack), extra);
  for (const [p, expected] of want.entries()) {
    const got = await device.downloadF32(outs[p]!, expected.length);
    expect(worstError(got, expected)).toBeLessThan(3e-6);
  }
  for (const buffer of owned) device.destroyBuffer(buffer);
}

const cases: Case[] = [
  { format: F32, m: 1, k: 64, n: [33] },
  { format: F32, m: 2, k: 37, n: [9, 5] },
  { format: F16, m: 1, k: 96, n: [40, 17, 17] },
  { format: F16, m: 2, k: 50, n: [3] },
  { format: affine(4, 32, 'f16'), m: 1, k: 576, n: [70, 33, 33], norm: true },
  { format: affine(4, 32, 'f32'), m: 2, k: 96, n: [65], residual: true },
  { format: affine(4, 16, 'f16'), m: 1, k: 40, n: [20, 20], gate: true, bias: true },
  { format: affine(8, 32, 'f16'), m: 1, k: 160, n: [37, 37], gate: true, norm: true },
  { format: affine(8, 16, 'f32'), m: 1, k: 48, n: [11], bias: true, residual: true },
  { format: affine(8, 32, 'f16'), m: 2, k: 33, n: [1] },
];

const nameOf = ({ format, m, k, n, ...extra }: Case) =>
  `${m} x ${k} to ${n.join(', ')} in ${formatName(format)} ${Object.entries(extra)
    .filter(([, on]) => on)
    .map(([name]) => name)
    .join(' ')}`;

/** WASM has no such dispatches: there `graph/fuseRows.ts` fuses nothing. */
describe.skipIf(ON_WASM).each(['software', 'gpu'] as const)('tuned for %s', (tuning) => {
  const run = cases.map((one) => ({ ...one, norm: tuning === 'gpu' && one.norm === true }));
  test.each(run.map((one) => [nameOf(one), one] as const))('%s', (_, one) => check(one, tuning));
});

test.skipIf(ON_WASM)('many columns on a GPU', () =>
  check({ format: affine(4, 32, 'f16'), m: 2, k: 32, n: [8199] }, 'gpu'),
);

test.skipIf(ON_WASM)('without subgroups', () => check({ ...cases[4]!, norm: false }, 'software', false));

test.skipIf(ON_WASM)('what no kernel does is refused', async () => {
  await expect(check({ format: F32, m: 9, k: 8, n: [8] }, 'gpu')).rejects.toThrow(/no kernel for 9 rows/);
  await expect(check({ format: F32, m: 1, k: 8, n: [8], norm: true }, 'software')).rejects.toThrow(
    /no kernel/,
  );
});
