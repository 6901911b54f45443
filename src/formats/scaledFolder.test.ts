import { describe, expect, test } from 'vitest';
import { type TensorToWrite, writeSafetensors } from './safetensors.ts';
import { float8Packing, scaledFolder } from './scaledFolder.ts';
import { openTensorFolder } from './shardedSafetensors.ts';
import type { DType } from './tensorFile.ts';
import { f32Bytes, MemorySink, memoryFile } from './testing.ts';

/** 1, 2, −1.5, 0.5 … in E4M3. */
const codes = [0x38, 0x40, 0xbc, 0x30];
const values = [1, 2, -1.5, 0.5];
const config = 'm/config.json';

async function folder(
  tensors: Record<string, [dtype: DType, shape: number[], bytes: Uint8Array<ArrayBuffer>]>,
) {
  const sink = new MemorySink();
  const entries = Object.entries(tensors).map(
    ([name, [dtype, shape, bytes]]): TensorToWrite => ({ name, dtype, shape, read: () => bytes }),
  );
  await writeSafetensors(sink, entries);
  return openTensorFolder(
    async (name) => (name === 'model.safetensors' ? memoryFile(sink.bytes, 'm/model.safetensors') : null),
    'm',
  );
}

const matrix = (rows: number, cols: number): [DType, number[], Uint8Array<ArrayBuffer>] => [
  'F8_E4M3',
  [rows, cols],
  Uint8Array.from({ length: rows * cols }, (_, i) => codes[i % 4]!),
];
const scale = (shape: number[], numbers: number[]): [DType, number[], Uint8Array<ArrayBuffer>] => [
  'F32',
  shape,
  f32Bytes(numbers),
];
const compressed = (weights: object) => ({
  quant_method: 'compressed-tensors',
  config_groups: { group_0: { weights: { num_bits: 8, type: 'float', symmetric: true, ...weights } } },
});

describe('scales', () => {
  test.each<[string, unknown, string, number[], number[], (row: number, col: number) => number]>([
    ['of a row', { quant_method: 'fbgemm_fp8' }, '_scale', [3, 1], [2, 3, 5], (row) => [2, 3, 5][row]!],
    ['of a tensor', { quant_method: 'modelopt', quant_algo: 'FP8' }, '_scale', [], [0.3], () => 0.3],
    ['of a channel', compressed({ strategy: 'channel' }), '_scale', [3, 1], [2, 3, 5], (r) => [2, 3, 5][r]!],
    ['of a tensor in a list', compressed({ strategy: 'tensor' }), '_scale', [1], [7], () => 7],
    [
      'of a block',
      { quant_method: 'fp8', weight_block_size: [2, 2] },
      '_scale_inv',
      [2, 2],
      [2, 3, 5, 7],
      (row, col) => [2, 3, 5, 7][2 * (row >> 1) + (col >> 1)]!,
    ],
    ['of a large block', { quant_method: 'fp8' }, '_scale_inv', [1, 1], [4], () => 4],
    [
      'of a group',
      compressed({ strategy: 'group', group_size: 2 }),
      '_scale',
      [3, 2],
      [1, 2, 3, 4, 5, 6],
      (row, col) => 2 * row + (col >> 1) + 1,
    ],
  ])('%s', async (_, quantization, suffix, shape, numbers, factor) => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const plain = await folder({
      [name]: matrix(3, 4),
      [`${name}${suffix}`]: scale(shape, numbers),
      'model.layers.0.mlp.up_proj.input_scale': scale([], [9]),
      other: scale([2], [1, 2]),
    });
    const scaled = scaledFolder(plain, float8Packing(quantization, config));
    expect([...scaled.tensors.keys()].toSorted()).toEqual([name, 'other']);
    const wanted = Float32Array.from({ length: 12 }, (_x, i) => {
      const [row, col] = [Math.floor(i / 4), i % 4];
      return values[i % 4]! * Math.fround(factor(row, col));
    });
    expect([...(await scaled.readFloat32(name))]).toEqual([...wanted]);
    expect([...(await scaled.readFloat32('other'))]).toEqual([1, 2]);
  });

  test('scales beside 8-bit floats count without a config, too; other folders stay as they are', async () => {
    const plain = await folder({ 'w.weight': matrix(1, 4), 'w.weight_scale': scale([1], [2]) });
    expect([...(await scaledFolder(plain, null).readFloat32('w.weight'))]).toEqual([2, 4, -3, 1]);
    const simple = await folder({ w: matrix(1, 4) });
    expect(scaledFolder(simple, null)).toBe(simple);
  });

  test('complaints', async () => {
    const packing = float8Packing({ quant_method: 'fbgemm_fp8' }, config);
    const without = await folder({ 'a.weight': matrix(2, 4) });
    expect(() => scaledFolder(without, packing)).toThrow(
      /m\/model\.safetensors: a\.weight .*_scale is missing/,
    );
    const wrong = await folder({ 'a.weight': matrix(3, 4), 'a.weight_scale': scale([2, 1], [1, 2]) });
    expect(() => scaledFolder(wrong, packing)).toThrow(/scales of a\.weight have the shape \[2, 1\]/);
    const blocks = float8Packing({ quant_method: 'fp8', weight_block_size: [2, 2] }, config);
    const rows = await folder({ 'a.weight': matrix(3, 4), 'a.weight_scale_inv': scale([3, 1], [1, 2, 3]) });
    expect(() => scaledFolder(rows, blocks)).toThrow(/in blocks of 2 × 2/);
  });
});

describe('quantization_config', () => {
  test.each([
    ['gptq', { quant_method: 'gptq', bits: 4 }],
    ['awq', { quant_method: 'awq' }],
    ['bitsandbytes', { quant_method: 'bitsandbytes' }],
    ['compressed-tensors', compressed({ num_bits: 4, type: 'int' })],
    ['compressed-tensors', compressed({ type: 'int' })],
    ['compressed-tensors', { quant_method: 'compressed-tensors' }],
    ['modelopt', { quant_method: 'modelopt', quant_algo: 'NVFP4' }],
    ['unnamed', {}],
  ])('%s is refused by name', (method, quantization) => {
    expect(() => float8Packing(quantization, config)).toThrow(
      `m/config.json: quantization_config says that the weights are packed (${method})`,
    );
  });

  test('nothing packed', () => {
    expect(float8Packing(undefined, config)).toBeNull();
    expect(float8Packing(null, config)).toBeNull();
  });
});
