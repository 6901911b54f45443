import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { type LoraMatrix, peftConfigText, readPeft, writePeftTensors } from './peft.ts';
import { SafetensorsFile } from './safetensors.ts';
import { MemorySink, memoryFile, safetensorsBytes } from './testing.ts';

const folder = new URL('../../fixtures/goldens/models/llama-tied-gqa/lora/', import.meta.url).pathname;
const goldenConfig = () => JSON.parse(readFileSync(`${folder}adapter_config.json`, 'utf8'));

async function golden() {
  const file = await SafetensorsFile.open(await nodeFileSource(`${folder}adapter_model.safetensors`));
  return await readPeft(goldenConfig(), file);
}

async function rewrite(matrices: readonly LoraMatrix[], layers: number) {
  const sink = new MemorySink();
  await writePeftTensors(sink, { baseModel: 'base', matrices });
  const file = await SafetensorsFile.open(memoryFile(sink.bytes, 'adapter_model.safetensors'));
  const config = JSON.parse(peftConfigText({ baseModel: 'base', matrices }, layers));
  return { config, adapter: await readPeft(config, file), names: [...file.tensors.keys()] };
}

const byModule = (matrices: readonly LoraMatrix[]) =>
  Object.fromEntries(matrices.map((matrix) => [matrix.module, matrix]));

describe('PEFT adapters', () => {
  test('the recorded adapter', async () => {
    const { baseModel, matrices } = await golden();
    expect(baseModel).toBe('llama-tied-gqa');
    expect(matrices.length).toBe(14);
    const down = byModule(matrices)['model.layers.0.mlp.down_proj']!;
    expect(down).toMatchObject({ rank: 4, scale: 2, inFeatures: 112, outFeatures: 48 });
    expect([down.a.length, down.b.length]).toEqual([448, 192]);
    expect(down.b.some((value) => value !== 0)).toBe(true);
  });

  test('survives being written and read', async () => {
    const { matrices } = await golden();
    const { config, adapter, names } = await rewrite(matrices, 2);
    expect(byModule(adapter.matrices)).toEqual(byModule(matrices));
    const original = await SafetensorsFile.open(await nodeFileSource(`${folder}adapter_model.safetensors`));
    expect(names.sort()).toEqual([...original.tensors.keys()].sort());
    const { r, lora_alpha, target_modules, rank_pattern, alpha_pattern } = config;
    expect({ r, lora_alpha }).toEqual({ r: 4, lora_alpha: 8 });
    expect(target_modules).toEqual(goldenConfig().target_modules);
    expect([rank_pattern, alpha_pattern]).toEqual([{}, {}]);
  });

  test('ranks and scales that differ go into the patterns', async () => {
    const { matrices } = await golden();
    const [first, ...others] = matrices;
    const odd: LoraMatrix = {
      ...first!,
      rank: 1,
      scale: 0.3,
      a: new Float32Array(first!.inFeatures).fill(2),
      b: new Float32Array(first!.outFeatures).fill(3),
    };
    const { config, adapter } = await rewrite([odd, ...others.slice(1)], 2);
    expect(config.rank_pattern).toEqual({ [odd.module]: 1 });
    expect(byModule(adapter.matrices)[odd.module]).toEqual(odd);
    expect(config.target_modules).toContain('v_proj');
    expect(config.target_modules.some((name: string) => name.startsWith('model.layers.'))).toBe(true);
  });

  test('rank-stabilised scale', async () => {
    const file = await SafetensorsFile.open(await nodeFileSource(`${folder}adapter_model.safetensors`));
    const { matrices } = await readPeft({ ...goldenConfig(), use_rslora: true }, file);
    expect(matrices[0]!.scale).toBe(4);
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['another method', { peft_type: 'IA3' }, /adapter_config\.json: peft_type is "IA3"/],
    ['DoRA', { use_dora: true }, /use_dora/],
    ['no rank', { r: undefined }, /r is missing/],
    ['a rank that does not fit', { r: 8 }, /rank 8/],
    ['an expression', { rank_pattern: { '.*q_proj': 2 } }, /rank_pattern/],
    ['biases', { bias: 'all' }, /bias/],
  ])('%s is refused', async (_, change, message) => {
    const file = await SafetensorsFile.open(await nodeFileSource(`${folder}adapter_model.safetensors`));
    await expect(readPeft({ ...goldenConfig(), ...change }, file)).rejects.toThrow(message);
  });

  test('a number that is none is refused', async () => {
    const module = 'base_model.model.model.layers.0.mlp.up_proj';
    const tensors = {
      [`${module}.lora_A.weight`]: { shape: [4, 1], values: [1, 2, 3, 4] },
      [`${module}.lora_B.weight`]: { shape: [1, 4], values: [1, 2, Number.NaN, 4] },
    };
    const file = await SafetensorsFile.open(memoryFile(await safetensorsBytes(tensors), 'a.safetensors'));
    await expect(readPeft(goldenConfig(), file)).rejects.toThrow(
      /a\.safetensors.*up_proj\.lora_B.*not finite/,
    );
  });

  test('half a pair and foreign tensors are named', async () => {
    const open = async (name: string) =>
      SafetensorsFile.open(
        memoryFile(
          await safetensorsBytes({ [name]: { shape: [4, 1], values: [1, 2, 3, 4] } }),
          'a.safetensors',
        ),
      );
    const half = await open('base_model.model.model.layers.0.mlp.up_proj.lora_A.weight');
    await expect(readPeft(goldenConfig(), half)).rejects.toThrow(/up_proj has lora_A but not the other/);
    const foreign = await open('base_model.model.lm_head.modules_to_save.weight');
    await expect(readPeft(goldenConfig(), foreign)).rejects.toThrow(/a\.safetensors.*lm_head/);
  });
});
