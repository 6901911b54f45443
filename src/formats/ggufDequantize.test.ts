import { beforeAll, describe, expect, test } from 'vitest';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { halfToFloat } from '../util/halfFloat.ts';
import { dequantize } from './ggufDequantize.ts';
import { type GgufTypeName, ggufTypes } from './ggufTypes.ts';
import { type PackedMatrix, repack } from './repack.ts';
import { SafetensorsFile } from './safetensors.ts';

const goldens = new URL('../../fixtures/goldens/quant.safetensors', import.meta.url).pathname;
const supported = [
  ...['F16', 'BF16', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'],
  ...['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S', 'IQ4_NL', 'IQ4_XS'],
  ...['TQ1_0', 'TQ2_0', 'MXFP4', 'NVFP4'],
] as GgufTypeName[];
const packable = supported.filter((name) => name !== 'F16' && name !== 'BF16');
const typeOf = (name: string) => [...ggufTypes.values()].find((type) => type.name === name)!;

/** Reads a packed matrix the way a kernel does: f32 product, f32 sum. */
function unpack({ format, rows, cols, data, scales }: PackedMatrix): Float32Array {
  const values = new Float32Array(rows * cols);
  const floats = new Float32Array(scales.buffer);
  const perWord = 32 / format.bits;
  for (let i = 0; i < values.length; i++) {
    const g = Math.floor(i / format.group);
    const q = (data[Math.floor(i / perWord)]! >>> ((i % perWord) * format.bits)) & ((1 << format.bits) - 1);
    const half = format.scales === 'f16';
    const scale = half ? halfToFloat(scales[g]! & 0xffff) : floats[2 * g]!;
    const minimum = half ? halfToFloat(scales[g]! >>> 16) : floats[2 * g + 1]!;
    values[i] = Math.fround(Math.fround(scale * q) + minimum);
  }
  return values;
}

let file: SafetensorsFile;
beforeAll(async () => {
  file = await SafetensorsFile.open(await nodeFileSource(goldens));
});

describe('dequantize', () => {
  test.each(supported)('%s equals the recorded values bit for bit', async (name) => {
    const { bytes } = await file.readTensor(`${name}.raw`);
    const expected = await file.readFloat32(`${name}.f32`);
    const values = dequantize(name, bytes, 'test');
    expect(new Uint32Array(values.buffer)).toEqual(new Uint32Array(expected.slice().buffer));
  });

  test('a type without a decoder is refused by name', () => {
    expect(() => dequantize('Q8_K', new Uint8Array(292), 'a.gguf: tensor "x"')).toThrow(/a\.gguf.*Q8_K/);
  });
});

describe('repack', () => {
  test.each(packable)('%s keeps every value', async (name) => {
    const { bytes, shape } = await file.readTensor(`${name}.raw`);
    const { blockElements } = typeOf(name);
    const packed = repack(name, bytes, shape[0]!, blockElements, 'test');
    const values = dequantize(name, bytes, 'test').map((value) => value + 0);
    expect(new Uint32Array(unpack(packed).map((value) => value + 0).buffer)).toEqual(
      new Uint32Array(values.buffer),
    );
  });

  test('shapes of the usual types', async () => {
    const wanted: [GgufTypeName, number, number, string][] = [
      ['Q4_0', 4, 32, 'f16'],
      ['Q4_1', 4, 32, 'f16'],
      ['Q4_K', 4, 32, 'f32'],
      ['Q5_0', 8, 32, 'f16'],
      ['Q5_1', 8, 32, 'f16'],
      ['Q8_0', 8, 32, 'f16'],
      ['Q6_K', 8, 16, 'f32'],
      ['Q5_K', 8, 32, 'f32'],
    ];
    for (const [name, bits, group, scales] of wanted) {
      const { bytes } = await file.readTensor(`${name}.raw`);
      const { blockBytes, blockElements } = typeOf(name);
      const { format } = repack(name, bytes.slice(0, blockBytes), 1, blockElements, 'test');
      expect(format).toEqual({ kind: 'affine', bits, group, scales });
    }
  });

  test.each([
    ['a minimum beyond f16', 0x7000],
    ['a subnormal scale', 0x0007],
  ])('Q4_0 with %s takes f32 scales', (_, scale) => {
    const raw = Uint8Array.from({ length: 18 }, (_, i) => (i * 37) & 255);
    new DataView(raw.buffer).setUint16(0, scale, true);
    const packed = repack('Q4_0', raw, 1, 32, 'test');
    expect(packed.format.scales).toBe('f32');
    expect(unpack(packed)).toEqual(dequantize('Q4_0', raw, 'test'));
  });
});
