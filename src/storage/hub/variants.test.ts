import { describe, expect, test } from 'vitest';
import type { HubListing } from './listing.ts';
import { chooseVariant, variantsOf } from './variants.ts';

const MIB = 2 ** 20;

function listing(files: Record<string, number>, dtypes?: readonly string[]): HubListing {
  return {
    id: 'a/b',
    commit: '0'.repeat(40),
    gated: false,
    dtypes,
    files: Object.entries(files).map(([path, bytes]) => ({ path, bytes, hash: { kind: 'sha1', hex: '' } })),
  };
}

const labels = (files: Record<string, number>) => variantsOf(listing(files)).map(({ label }) => label);

describe('variants', () => {
  test.each([
    ['SmolLM2-135M-Instruct.Q4_1.gguf', 'Q4_1'],
    ['qwen2.5-0.5b-instruct-q4_k_m.gguf', 'Q4_K_M'],
    ['Qwen3-0.6B-UD-IQ2_XXS.gguf', 'UD-IQ2_XXS'],
    ['gemma-3-270m-it-F16.gguf', 'F16'],
    ['gemma-3-270m-it-BF16.gguf', 'BF16'],
    ['Q8_0/model-Q8_0-00001-of-00001.gguf', 'Q8_0'],
    ['ggml-model.gguf', 'ggml-model'],
  ])('%s is called %s', (path, label) => {
    expect(labels({ [path]: 1 })).toEqual([label]);
  });

  test('weights of a folder come first and are what is meant', () => {
    const files = {
      'config.json': 10,
      'tokenizer.json': 20,
      'model.safetensors': 1000,
      'x-Q8_0.gguf': 500,
      'README.md': 9,
    };
    const [folder] = variantsOf(listing(files, ['BF16']));
    expect(folder).toMatchObject({ key: 'safetensors', label: 'BF16', bytes: 1030 });
    expect(chooseVariant(listing(files), { id: 'a/b' }).key).toBe('safetensors');
    expect(chooseVariant(listing(files), { id: 'a/b', variant: 'q8_0' }).key).toBe('x-Q8_0.gguf');
    expect(chooseVariant(listing(files), { id: 'a/b', variant: 'safetensors' }).key).toBe('safetensors');
  });

  test.each<[Record<string, number>, string]>([
    [{ 'x-Q8_0.gguf': 140 * MIB, 'x-Q4_K_M.gguf': 100 * MIB, 'x-F16.gguf': 270 * MIB }, 'Q8_0'],
    [{ 'x-Q8_0.gguf': 1400 * MIB, 'x-Q4_K_M.gguf': 900 * MIB, 'x-Q2_K.gguf': 500 * MIB }, 'Q4_K_M'],
    [{ 'x-Q8_0.gguf': 1400 * MIB, 'x-Q4_0.gguf': 900 * MIB }, 'Q4_0'],
    [{ 'x-Q8_0.gguf': 1400 * MIB, 'x-F16.gguf': 2900 * MIB }, 'Q8_0'],
    [{ 'b.gguf': 20, 'a.gguf': 10 }, 'a'],
  ])('of %j it takes %s', (files, label) => {
    expect(chooseVariant(listing(files), { id: 'a/b' }).label).toBe(label);
  });

  test.each<[Record<string, number>, RegExp]>([
    [{ 'README.md': 1 }, /neither safetensors nor a GGUF file/u],
    [{ 'config.json': 1, 'pytorch_model.bin': 1 }, /pickled/u],
    [{ 'adapter_config.json': 1, 'adapter_model.safetensors': 1 }, /an adapter alone/u],
    [{ 'unet/model.safetensors': 1 }, /no config\.json/u],
    [{ 'x-Q4_0-00001-of-00003.gguf': 1 }, /neither safetensors nor a GGUF/u],
  ])('%j has nothing to read', (files, message) => {
    expect(() => chooseVariant(listing(files), { id: 'a/b' })).toThrow(message);
  });

  test('ONNX files are forms too, after all others', () => {
    const onnx = {
      'onnx/model.onnx': 40,
      'onnx/model.onnx_data': 900,
      'onnx/model_q4.onnx': 300,
      'onnx/encoder.onnx': 5,
    };
    const files = { 'config.json': 10, 'tokenizer.json': 20, ...onnx };
    expect(variantsOf(listing(files)).map(({ label, bytes }) => [label, bytes])).toEqual([
      ['ONNX-Q4', 330],
      ['ONNX', 970],
    ]);
    expect(chooseVariant(listing(files), { id: 'a/b', variant: 'onnx' }).files).toHaveLength(4);
    expect(chooseVariant(listing({ ...files, 'model.safetensors': 1 }), { id: 'a/b' }).key).toBe(
      'safetensors',
    );
    expect(variantsOf(listing(onnx))).toEqual([]);
  });

  test('two files of one quantisation have to be told apart', () => {
    const files = { 'x-Q4_0.gguf': 1, 'y-Q4_0.gguf': 1 };
    expect(() => chooseVariant(listing(files), { id: 'a/b', variant: 'Q4_0' })).toThrow(
      /x-Q4_0\.gguf, y-Q4_0\.gguf/u,
    );
    expect(chooseVariant(listing(files), { id: 'a/b', file: 'y-Q4_0.gguf' }).key).toBe('y-Q4_0.gguf');
  });
});
