import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { GgufFile } from './gguf.ts';
import { huggingFaceName } from './ggufFamilies.ts';
import { GgufModel } from './ggufModel.ts';
import { unpairRows } from './repack.ts';
import { f32Bytes, ggufBytes, memoryFile, type TestTensor, type TestValue, tinyLlama } from './testing.ts';

const open = (bytes: Uint8Array) => GgufFile.open(memoryFile(bytes, 'm.gguf'));
const openModel = (model: { metadata: Record<string, TestValue>; tensors: Record<string, TestTensor> }) =>
  GgufModel.open(memoryFile(ggufBytes(model.metadata, model.tensors), 'm.gguf'));
const vector = (values: number[]): TestTensor => ({
  type: 'F32',
  shape: [values.length],
  raw: f32Bytes(values),
});

/** Overwrites the 8 bytes that stand right after a text. */
function patchAfter(bytes: Uint8Array, text: string, skip: number, value: bigint): Uint8Array {
  const copy = bytes.slice();
  const needle = new TextEncoder().encode(text);
  const at = copy.findIndex((_, i) => needle.every((byte, j) => copy[i + j] === byte));
  new DataView(copy.buffer).setBigUint64(at + needle.length + skip, value, true);
  return copy;
}

describe('reading', () => {
  test.each([2, 3])('metadata of every type and tensors, version %i', async (version) => {
    const bytes = ggufBytes(
      {
        text: { string: 'grüße 🙂' },
        flag: { bool: true },
        eps: { f32: 1e-5 },
        big: { u64: 2 ** 40 },
        negative: { i32: -5 },
        numbers: { array: [{ f32: 1.5 }, { f32: -2 }], of: 'f32' },
        texts: { array: [{ string: 'a' }, { string: '' }, { string: '\ufeff#' }], of: 'string' },
        flags: { array: [{ bool: false }, { bool: true }], of: 'bool' },
        nested: { array: [{ array: [{ u8: 1 }, { u8: 2 }], of: 'u8' }], of: 'array' },
      },
      { a: { type: 'F32', shape: [2, 3], raw: f32Bytes([1, 2, 3, 4, 5, 6]) }, b: vector([7]) },
      version,
    );
    const file = await open(bytes);
    expect(Object.fromEntries(file.metadata)).toEqual({
      text: 'grüße 🙂',
      flag: true,
      eps: Math.fround(1e-5),
      big: 2 ** 40,
      negative: -5,
      numbers: Float32Array.of(1.5, -2),
      texts: ['a', '', '\ufeff#'],
      flags: [false, true],
      nested: [Uint8Array.of(1, 2)],
    });
    expect(file.tensor('a').shape).toEqual([2, 3]);
    expect([...(await file.readFloat32('a'))]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...(await file.readFloat32('b'))]).toEqual([7]);
    await expect(file.readRaw('c')).rejects.toThrow(/"c" is missing/);
  });

  test('a header longer than one piece', async () => {
    const texts = Array.from({ length: 120_000 }, (_, i) => ({ string: `token ${i} ${'x'.repeat(i % 30)}` }));
    const file = await open(ggufBytes({ tokens: { array: texts, of: 'string' } }, { b: vector([7]) }));
    const tokens = file.metadata.get('tokens') as string[];
    expect(tokens.length).toBe(120_000);
    expect(tokens.at(-1)).toBe(texts.at(-1)!.string);
    expect([...(await file.readFloat32('b'))]).toEqual([7]);
  });
});

describe('bad files', () => {
  const { metadata, tensors } = tinyLlama();
  const good = ggufBytes(metadata, tensors);
  const huge = 2n ** 62n;
  test.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(0), /ends inside/],
    ['another format', new TextEncoder().encode('PK\x03\x04 something else'), /not a GGUF file/],
    ['version 1', ggufBytes({}, {}, 1), /version 1/],
    ['big-endian', ggufBytes({}, {}, 3 << 24), /big-endian/],
    ['many tensors', patchAfter(good, 'GGUF', 4, huge), /claims/],
    ['a long text', patchAfter(good, 'general.architecture', 4, huge), /general\.architecture/],
    ['a long array', patchAfter(ggufBytes({ k: { array: [], of: 'f32' } }, {}), 'k', 8, huge), /"k" claims/],
    [
      'a long list',
      patchAfter(ggufBytes({ k: { array: [], of: 'string' } }, {}), 'k', 8, huge),
      /"k" claims/,
    ],
    ['an alignment of 3', ggufBytes({ 'general.alignment': { u32: 3 } }, {}), /general\.alignment/],
    ['a large dimension', patchAfter(good, 'token_embd.weight', 4, huge), /"token_embd\.weight"/],
    ['an unknown type', patchAfter(good, 'token_embd.weight', 20, 99n), /type number 99/],
    ['a distant tensor', patchAfter(good, 'token_embd.weight', 24, 1n << 40n), /"token_embd\.weight".*ends/],
    ['a crooked tensor', patchAfter(good, 'token_embd.weight', 24, 4n), /no multiple of 32/],
    ['overlap', patchAfter(good, 'output_norm.weight', 16, 0n), /overlaps/],
    ['cut off', good.slice(0, -40), /ends at byte/],
    [
      'a row that is no whole number of blocks',
      ggufBytes({}, { a: { type: 'Q4_0', shape: [2, 48], raw: new Uint8Array(54) } }),
      /rows of 48/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toThrow(AlloyError);
    await expect(open(bytes)).rejects.toThrow(message);
  });

  test('damaged and cut files give an AlloyError or a model that can be read', async () => {
    const damage = fc.record({
      cut: fc.nat(good.length),
      edits: fc.array(fc.tuple(fc.nat(1400), fc.nat(255)), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ cut, edits }) => {
        const bytes = good.slice(0, edits.length > 0 ? good.length : cut);
        for (const [at, value] of edits) bytes[at] = value;
        try {
          const model = await GgufModel.open(memoryFile(bytes, 'm.gguf'));
          for (const name of model.tensors.keys()) await model.readFloat32(name);
        } catch (error) {
          if (!(error instanceof AlloyError)) throw error;
        }
      }),
      { numRuns: 1500, seed: 5 },
    );
  });
});

test.each([1, 8, 64, 4096])('alignment %i', async (alignment) => {
  const file = await open(
    ggufBytes({ 'general.alignment': { u32: alignment } }, { a: vector([1, 2, 3]), b: vector([4]) }),
  );
  expect([...(await file.readFloat32('a')), ...(await file.readFloat32('b'))]).toEqual([1, 2, 3, 4]);
});

describe('split files', () => {
  const part = (no: number, tensors: Record<string, TestTensor>, extra: Record<string, TestValue> = {}) =>
    ggufBytes({ 'split.no': { u32: no }, 'split.count': { u32: 3 }, ...extra }, tensors);
  const name = (no: number) => `m-0000${no + 1}-of-00003.gguf`;
  const openSplit = (start: number, parts: readonly (Uint8Array | null)[]) =>
    GgufFile.open(memoryFile(parts[start]!, `some/folder/${name(start)}`), async (wanted) => {
      const no = [0, 1, 2].find((index) => name(index) === wanted);
      const bytes = no === undefined ? null : parts[no];
      return bytes ? memoryFile(bytes, wanted) : null;
    });
  const first = part(0, {}, { 'split.tensors.count': { i32: 2 }, text: { string: 'x' } });
  const whole = [first, part(1, { a: vector([1, 2]) }), part(2, { b: vector([3]) })];

  test.each([0, 1, 2])('opens from part %i', async (start) => {
    const file = await openSplit(start, whole);
    expect(file.metadata.get('text')).toBe('x');
    expect(file.parts.map((source) => source.name.split('/').at(-1))).toEqual([name(0), name(1), name(2)]);
    expect([...(await file.readFloat32('a')), ...(await file.readFloat32('b'))]).toEqual([1, 2, 3]);
  });

  test.each<[string, readonly (Uint8Array | null)[], RegExp]>([
    ['a missing part', [first, null, part(2, {})], /m-00002-of-00003\.gguf is not beside it/],
    ['parts in the wrong place', [first, part(2, {}), part(1, {})], /00002-of-00003\.gguf: .*part 2 of 3/],
    ['a part of another split', [first, ggufBytes({}, {}), part(2, {})], /part 2 of 3/],
    [
      'a tensor in two parts',
      [first, part(1, { a: vector([1]) }), part(2, { a: vector([1]) })],
      /00003-of-00003\.gguf: tensor "a" is in another part/,
    ],
    ['a lost tensor', [first, part(1, { a: vector([1]) }), part(2, {})], /1 tensors, not 2/],
    ['a damaged part', [first, part(1, {}).subarray(0, 60), part(2, {})], /00002-of-00003/],
  ])('%s', async (_, parts, message) => {
    await expect(openSplit(0, parts)).rejects.toThrow(message);
  });

  test('a part with another name, or alone', async () => {
    await expect(open(first)).rejects.toThrow(/m\.gguf: it is one of 3 parts .* does not end in/);
    await expect(GgufFile.open(memoryFile(first, name(0)))).rejects.toThrow(/00002-of-00003\.gguf is not/);
  });
});

describe('names', () => {
  test.each([
    ['llama', 'token_embd.weight', 'model.embed_tokens.weight'],
    ['llama', 'blk.12.ffn_norm.weight', 'model.layers.12.post_attention_layernorm.weight'],
    ['qwen2', 'blk.0.attn_q.bias', 'model.layers.0.self_attn.q_proj.bias'],
    ['qwen3', 'blk.0.attn_k_norm.weight', 'model.layers.0.self_attn.k_norm.weight'],
    ['gemma3', 'blk.3.ffn_norm.weight', 'model.layers.3.pre_feedforward_layernorm.weight'],
    ['gemma3', 'blk.3.post_attention_norm.weight', 'model.layers.3.post_attention_layernorm.weight'],
    ['gemma3', 'blk.3.post_ffw_norm.weight', 'model.layers.3.post_feedforward_layernorm.weight'],
    ['llama', 'blk.0.constructor.weight', null],
    ['llama', 'blk.0.ffn_gate_exps.weight', null],
  ])('%s %s', (architecture, name, expected) => {
    expect(huggingFaceName(architecture, name)).toBe(expected);
  });
});

describe('models', () => {
  test('rows of q and k come back in their order', async () => {
    const [heads, headDim] = [3, 6];
    const original = Uint8Array.from({ length: heads * headDim }, (_, i) => i);
    const paired = original.map((_, i) => {
      const [head, within] = [Math.floor(i / headDim), i % headDim];
      return head * headDim + (within % 2) * (headDim / 2) + Math.floor(within / 2);
    });
    expect([...unpairRows(paired, 1, heads, headDim)]).toEqual([...original]);
    const rows = new Uint8Array([...paired].flatMap((row) => [row, 100 + row]));
    expect([...unpairRows(rows, 2, heads, headDim)]).toEqual(
      [...original].flatMap((row) => [row, 100 + row]),
    );
  });

  test('a llama file as a Hugging Face model', async () => {
    const model = await openModel(tinyLlama());
    expect(model.config).toMatchObject({
      model_type: 'llama',
      hidden_size: 8,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 4,
      vocab_size: 10,
      rms_norm_eps: Math.fround(1e-5),
      rope_theta: 10_000,
      rope_scaling: null,
      tie_word_embeddings: true,
    });
    const file = await model.gguf.readFloat32('blk.0.attn_q.weight');
    const q = await model.readFloat32('model.layers.0.self_attn.q_proj.weight');
    expect([...q.subarray(8, 16)]).toEqual([...file.subarray(16, 24)]);
    expect([...q.subarray(16, 24)]).toEqual([...file.subarray(8, 16)]);
    const v = await model.readFloat32('model.layers.0.self_attn.v_proj.weight');
    expect([...v]).toEqual([...(await model.gguf.readFloat32('blk.0.attn_v.weight'))]);
    expect(await model.readPacked('model.layers.0.self_attn.v_proj.weight')).toBeNull();
  });

  test('a window makes it a Mistral; linear scaling is passed on', async () => {
    const { config } = await openModel(
      tinyLlama({
        'llama.attention.sliding_window': { u32: 16 },
        'llama.rope.scaling.type': { string: 'linear' },
        'llama.rope.scaling.factor': { f32: 4 },
      }),
    );
    expect(config).toMatchObject({
      model_type: 'mistral',
      sliding_window: 16,
      rope_scaling: { rope_type: 'linear', factor: 4 },
    });
  });

  test('divisors of the frequencies: Llama 3 by name, others as they are', async () => {
    const withFactors = async (theta: number, factors: number[], headDim: number) => {
      const model = tinyLlama({
        'llama.rope.freq_base': { f32: theta },
        'llama.attention.key_length': { u32: headDim },
        'llama.attention.value_length': { u32: headDim },
      });
      model.tensors['rope_freqs.weight'] = vector(factors);
      return (await openModel(model)).config.rope_scaling;
    };
    const llama32 = Array.from({ length: 32 }, (_, j) => {
      const wavelength = 2 * Math.PI * 500_000 ** (j / 32);
      if (wavelength < 2048) return 1;
      if (wavelength > 8192) return 32;
      const smooth = (8192 / wavelength - 1) / 3;
      return 1 / ((1 - smooth) / 32 + smooth);
    });
    expect(await withFactors(500_000, llama32, 64)).toEqual({
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
    expect(await withFactors(500_000, [1, 2], 4)).toEqual({ rope_type: 'factors', factors: [1, 2] });
  });

  test.each<[string, Record<string, TestValue>, RegExp]>([
    ['an unknown architecture', { 'general.architecture': { string: 'mamba' } }, /"mamba"/],
    ['no layers', { 'llama.block_count': { u32: 0 } }, /llama\.block_count is 0/],
    ['more layers than tensors', { 'llama.block_count': { u32: 4_000_000_000 } }, /block_count/],
    [
      'a text for a number',
      { 'llama.embedding_length': { string: '8' } },
      /embedding_length is not one number/,
    ],
    ['experts', { 'llama.expert_count': { u32: 8 } }, /expert_count/],
  ])('%s', async (_, extra, message) => {
    await expect(openModel(tinyLlama(extra))).rejects.toThrow(message);
  });

  test('missing metadata and foreign tensors are named', async () => {
    const model = tinyLlama();
    delete model.metadata['llama.attention.layer_norm_rms_epsilon'];
    await expect(openModel(model)).rejects.toThrow(/layer_norm_rms_epsilon is missing/);
    const other = tinyLlama();
    other.tensors['blk.0.ssm_in.weight'] = vector([1]);
    await expect(openModel(other)).rejects.toThrow(/"blk\.0\.ssm_in\.weight" has no place/);
  });
});
