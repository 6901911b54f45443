import { describe, expect, test } from 'vitest';
import { ON_WASM, runOnDevice, testValues } from '../device/testing.ts';
import { nodeWasmHost } from '../device/wasm/nodeWasmHost.ts';
import { WasmDevice } from '../device/wasm/wasmDevice.ts';
import { matmulNN, matmulNT, matmulTN } from './matmul.ts';
import { matmulPieces } from './matmulPieces.ts';
import { expectClose, F32, nans, norm, Q4, weightMatrix } from './matmulTesting.ts';
import { matmulNNReference, matmulNTReference, matmulTNReference } from './reference/matmul.ts';
import { formatName, type WeightFormat } from './weightFormat.ts';

test.each([
  ['nt', 1, 49_152, 6144],
  ['nt', 4, 576, 72],
  ['nt', 5, 7, 1],
  ['nn', 1, 576, 18],
  ['nt', 1024, 1024, 96],
  ['nn', 256, 256, 24],
  ['tn', 16, 576, 18],
  ['tn', 576, 16, 24],
  ['tn', 1, 1, 1],
] as const)('%s of %i x %i has %i pieces', (product, i, j, pieces) => {
  expect(matmulPieces(product, i, j, 64, 4)).toBe(pieces);
});

const F16: WeightFormat = { kind: 'f16' };
const Q8: WeightFormat = { kind: 'affine', bits: 8, group: 16, scales: 'f32' };

/** Over the edges of blocks (192 x 64, halved for fewer), of what a panel holds (384), of tiles and of vectors. */
const SHAPES = [
  [1, 50, 801],
  [4, 9, 2081],
  [6, 130, 417],
  [11, 65, 385],
  [200, 131, 43],
  [395, 17, 416],
  [17, 770, 33],
] as const;

describe.runIf(ON_WASM)('blocks', () => {
  test.each([0, 1, 3])('all products on %i threads', async (threads) => {
    const device = await WasmDevice.open(nodeWasmHost(threads));
    for (const [index, shape] of SHAPES.entries()) {
      const [m, n, k] = shape;
      const format = [F32, Q4, F16, Q8][index % 4]!;
      const w = weightMatrix(n, k, format);
      const [x, dy] = [testValues(m * k, 1), testValues(m * n, 3)];
      const buffer = Object.fromEntries(
        Object.entries({ ...w.arrays, x, dy, y: nans(m * n), dx: nans(m * k), dw: nans(n * k) }).map(
          ([name, data]) => [name, device.createFrom(data, name)],
        ),
      );
      const weight = w.operand(buffer);
      device.run([
        matmulNT({ x: buffer.x!, weight, y: buffer.y! }, { m, n, k }, 'wasm'),
        matmulNN({ dy: buffer.dy!, weight, dx: buffer.dx! }, { m, n, k }, 'wasm'),
        matmulTN({ dy: buffer.dy!, x: buffer.x!, dw: buffer.dw! }, { m, n, k }, 'wasm'),
      ]);
      const close = async (name: string, wanted: Float64Array, bound: number) => {
        const got = await device.downloadF32(buffer[name]!, wanted.length);
        const worst = wanted.reduce((most, value, at) => Math.max(most, Math.abs(got[at]! - value)), 0);
        expect(got.every(Number.isFinite), name).toBe(true);
        expect(worst, `${name} of ${shape}`).toBeLessThan(bound * 2 ** -22);
      };
      const [a, b, c] = [norm(x, 0, 1, k), norm(w.values, 0, 1, k), norm(dy, 0, 1, n)];
      await close('y', matmulNTReference(x, w.values, m, n, k), Math.sqrt(k) * a * b + 1);
      await close(
        'dx',
        matmulNNReference(dy, w.values, m, n, k),
        Math.sqrt(n) * c * norm(w.values, 0, k, n) + 1,
      );
      await close('dw', matmulTNReference(dy, x, m, n, k), m * Math.sqrt(m) + 1);
      for (const one of Object.values(buffer)) device.destroyBuffer(one);
    }
    device.dispose();
  });

  const formats: WeightFormat[] = [F32, F16];
  for (const bits of [4, 8] as const) {
    for (const group of [16, 32] as const) {
      for (const scales of ['f16', 'f32'] as const) formats.push({ kind: 'affine', bits, group, scales });
    }
  }
  test.each(formats.map((format) => [formatName(format), format] as const))(
    'one row and a few with %s',
    async (_, format) => {
      for (const m of [1, 2, 3, 4, 5]) {
        for (const [n, k] of [
          [1, 1],
          [9, 31],
          [5, 48],
          [8, 65],
          [13, 160],
          [3, 849],
        ] as const) {
          const x = testValues(m * k, 5);
          const w = weightMatrix(n, k, format);
          const bias = testValues(n, 6);
          const out = await runOnDevice({ ...w.arrays, x, bias, y: nans(m * n) }, (b) => [
            matmulNT({ x: b.x!, weight: w.operand(b), y: b.y!, bias: b.bias }, { m, n, k }, 'wasm'),
          ]);
          expectClose(
            out.y!,
            matmulNTReference(x, w.values, m, n, k, { bias }),
            (i) => norm(x, i * k, 1, k),
            (j) => norm(w.values, j * k, 1, k),
            n,
            k,
            1,
          );
        }
      }
    },
  );

  test.each([F16, Q4, Q8])('not finite in one row stays so with $kind', async (format) => {
    const [m, n, k] = [2, 11, 75];
    const w = weightMatrix(n, k, format);
    const x = testValues(m * k, 5);
    x[k + 40] = Number.NEGATIVE_INFINITY;
    const out = await runOnDevice({ ...w.arrays, x, y: nans(m * n) }, (b) => [
      matmulNT({ x: b.x!, weight: w.operand(b), y: b.y! }, { m, n, k }, 'wasm'),
    ]);
    const finite = Array.from(out.y!, Number.isFinite);
    expect(finite).toEqual(Array.from({ length: m * n }, (_, at) => at < n));
  });

  test('a weight or a value that is not finite reaches its outputs and no other', async () => {
    const device = await WasmDevice.open(nodeWasmHost(1));
    const [m, n, k] = [13, 20, 70];
    const halves = new Uint16Array(n * k).fill(0x3c00);
    halves[3 * k + 69] = 0x7c00;
    const values = new Float32Array(m * k).fill(1);
    values[12 * k + 5] = Number.NaN;
    const x = device.createFrom(values, 'x');
    const weight = { format: F16, data: device.createFrom(new Uint32Array(halves.buffer), 'w') };
    const y = device.createBuffer(m * n * 4, 'y');
    const z = device.createBuffer(n * 4, 'z');
    device.run([
      matmulNT({ x, weight, y }, { m, n, k }, 'wasm'),
      matmulNT({ x, weight, y: z }, { m: 1, n, k }, 'wasm'),
    ]);
    const got = await device.downloadF32(y);
    expect(await device.downloadF32(z)).toEqual(got.slice(0, n));
    expect([...got]).toEqual(
      Array.from({ length: m * n }, (_, at) => {
        if (Math.floor(at / n) === 12) return Number.NaN;
        return at % n === 3 ? Number.POSITIVE_INFINITY : k;
      }),
    );
    device.dispose();
  });
});
