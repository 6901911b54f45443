import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { SafetensorsFile } from '../formats/safetensors.ts';
import { f32Bytes, ggufBytes, memoryFile, type TestTensor, type TestValue } from '../formats/testing.ts';
import { NodeStorage, nodeFileSource } from '../storage/nodeStorage.ts';
import { exportModel, verifyExport } from './exportModel.ts';
import { type OpenModel, openFolder, openGguf } from './openModel.ts';

const goldens = join(import.meta.dirname, '../../fixtures/goldens/models/gemma3');
const parts: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
};

let folder = '';
let original: SafetensorsFile;
let model: OpenModel;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'alloy-export-'));
  original = await SafetensorsFile.open(await nodeFileSource(join(goldens, 'model.safetensors')));
  model = await openGguf('gemma', memoryFile(await gemmaGguf(), 'gemma.gguf'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The recorded Gemma as a GGUF file, which stores its norms as 1 + w. */
async function gemmaGguf(): Promise<Uint8Array<ArrayBuffer>> {
  const config = JSON.parse(readFileSync(join(goldens, 'config.json'), 'utf8'));
  const tensors: Record<string, TestTensor> = {};
  for (const [name, { shape }] of original.tensors) {
    const values = [...(await original.readFloat32(name))];
    const stored = name.endsWith('norm.weight') ? values.map((value) => value + 1) : values;
    tensors[ggufName(name)] = { type: 'F32', shape, raw: f32Bytes(stored) };
  }
  const key = (name: string) => `gemma3.${name}`;
  const tokens = Array.from({ length: config.vocab_size }, (_, id) =>
    id < 94 ? String.fromCodePoint(33 + id) : (['Ġ', 'th'][id - 94] ?? `<unused${id}>`),
  );
  const metadata: Record<string, TestValue> = {
    'general.architecture': { string: 'gemma3' },
    [key('block_count')]: { u32: config.num_hidden_layers },
    [key('context_length')]: { u32: config.max_position_embeddings },
    [key('embedding_length')]: { u32: config.hidden_size },
    [key('feed_forward_length')]: { u32: config.intermediate_size },
    [key('attention.head_count')]: { u32: config.num_attention_heads },
    [key('attention.head_count_kv')]: { u32: config.num_key_value_heads },
    [key('attention.key_length')]: { u32: config.head_dim },
    [key('attention.value_length')]: { u32: config.head_dim },
    [key('attention.layer_norm_rms_epsilon')]: { f32: config.rms_norm_eps },
    [key('attention.sliding_window')]: { u32: config.sliding_window },
    [key('attention.sliding_window_pattern')]: { u32: 2 },
    [key('rope.freq_base')]: { f32: 1e6 },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'gpt-2' },
    'tokenizer.ggml.tokens': { array: tokens.map((string) => ({ string })), of: 'string' },
    'tokenizer.ggml.merges': { array: [{ string: 't h' }], of: 'string' },
    'tokenizer.chat_template': { string: '{{ messages[0].content }}' },
  };
  return ggufBytes(metadata, tensors);
}

function ggufName(name: string): string {
  const [, layer, part = ''] = /^model\.layers\.(\d+)\.(.+)\.weight$/u.exec(name) ?? [];
  if (layer !== undefined) return `blk.${layer}.${parts[part]}.weight`;
  return name === 'model.norm.weight' ? 'output_norm.weight' : 'token_embd.weight';
}

describe('a Gemma from a GGUF file', () => {
  test('has its norms without the 1 that the file adds, and everything else as it was', async () => {
    const storage = new NodeStorage(join(folder, 'f32'));
    const told: number[] = [];
    const { files, missing } = await exportModel(model, 'f32', storage, {
      onProgress: (done, total) => told.push(done / total),
    });
    expect(files).toEqual([
      ...['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
      'chat_template.jinja',
    ]);
    expect(missing).toEqual([]);
    const exported = await openFolder('exported', 'f32', async (name) =>
      (await storage.exists(name)) ? storage.open(name) : null,
    );
    for (const text of ['the thing', 'a<unused99>b'])
      expect(exported.text.raw(text)).toEqual(model.text.raw(text));
    const messages = [{ role: 'user', content: 'th' }] as const;
    expect(exported.text.prompt(messages)).toEqual(model.text.prompt(messages));
    expect(told.at(-1)).toBe(1);
    const written = await SafetensorsFile.open(await storage.open('model.safetensors'));
    expect([...written.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
    for (const name of original.tensors.keys()) {
      const [got, want] = [await written.readFloat32(name), await original.readFloat32(name)];
      // Adding 1 and taking it away again rounds to units of 1's own last place.
      const tolerance = name.endsWith('norm.weight') ? 2 ** -23 : 0;
      const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - (want[i] ?? 0))), 0);
      expect({ name, ok: worst <= tolerance }).toEqual({ name, ok: true });
    }
    const config = JSON.parse(readFileSync(join(folder, 'f32', 'config.json'), 'utf8'));
    expect(config).toMatchObject({ model_type: 'gemma3_text', torch_dtype: 'float32' });
    expect(config).not.toHaveProperty('norm_includes_one');
  });

  test.each(['f32', 'f16', 'bf16'] as const)(
    'computes the same when it is read back in %s',
    async (dtype) => {
      const storage = new NodeStorage(join(folder, `read-${dtype}`));
      await exportModel(model, dtype, storage);
      const { difference, tolerance, positions } = await verifyExport(
        await testDevice(),
        model,
        dtype,
        storage,
      );
      expect(difference).toBeLessThanOrEqual(tolerance);
      expect(positions).toBeGreaterThan(20);
    },
  );

  test('that was written wrongly is found out', async () => {
    const storage = new NodeStorage(join(folder, 'wrong'));
    const wrong = {
      ...model,
      tensors: {
        ...model.tensors,
        vector: async (name: string) => (await model.tensors.vector(name)).map((value) => value * 1.5),
      },
    };
    await exportModel(wrong, 'f32', storage);
    await expect(verifyExport(await testDevice(), model, 'f32', storage)).rejects.toThrow(
      /differs from the one/u,
    );
  });
});

describe('what cannot be written', () => {
  test('a number beyond f16 is named, and no file is left', async () => {
    const storage = new NodeStorage(join(folder, 'large'));
    const large = {
      ...model,
      tensors: { ...model.tensors, vector: async () => Float32Array.of(1, 70_000) },
    };
    await expect(exportModel(large, 'f16', storage)).rejects.toThrow(/69999|70000.*use|export in bf16/u);
    expect(await storage.list()).toEqual([]);
  });

  test('rotation frequencies without a rule', async () => {
    const odd = {
      ...model,
      document: { ...model.document, rope_scaling: { rope_type: 'factors', factors: [1] } },
    };
    const storage = new NodeStorage(join(folder, 'odd'));
    await expect(exportModel(odd, 'f32', storage)).rejects.toThrow(/gemma: its rotation frequencies/u);
  });
});
