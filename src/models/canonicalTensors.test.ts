import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTensorFolder } from '../formats/shardedSafetensors.ts';
import { packMatrix } from '../kernels/quantize.ts';
import { unpack } from '../kernels/weightFormat.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { canonicalTensors, transposedMatrix } from './canonicalTensors.ts';
import { parseConfig } from './config.ts';
import { folderTensors, type TensorSource } from './tensorSource.ts';
import { checkTensors } from './weights.ts';

const goldens = join(import.meta.dirname, '../../fixtures/goldens/models');

async function opened(name: string) {
  const folder = join(goldens, name);
  const config = parseConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), name);
  const open = async (file: string) =>
    file === 'model.safetensors' ? nodeFileSource(join(folder, file)) : null;
  return { config, source: folderTensors(await openTensorFolder(open, folder)) };
}

/** The same tensors under other names. */
function renamed(source: TensorSource, rename: (name: string) => string): TensorSource {
  const names = [...(source.names?.() ?? [])];
  const back = new Map(names.map((name) => [rename(name), name]));
  const of = (name: string) => back.get(name) ?? 'none';
  return {
    file: source.file,
    names: () => [...back.keys(), 'h.0.attn.bias', 'h.1.attn.masked_bias'],
    shape: (name) => source.shape(of(name)),
    matrix: (name) => source.matrix(of(name)),
    vector: (name) => source.vector(of(name)),
  };
}

test("GPT-2's matrices come [out, in], under full names whether the file has the prefix or not", async () => {
  const { config, source } = await opened('gpt2');
  const bare = renamed(source, (name) => name.replace(/^transformer\./, ''));
  checkTensors(config, bare);
  const name = 'transformer.h.1.mlp.c_fc.weight';
  expect(source.shape(name)).toEqual([48, 192]);
  for (const one of [canonicalTensors(config, source), canonicalTensors(config, bare)]) {
    expect(canonicalTensors(config, one)).toBe(one);
    expect(one.shape(name)).toEqual([192, 48]);
    const [got, file] = [unpack(await one.matrix(name)), unpack(await source.matrix(name))];
    expect(got[3 * 48 + 5]).toBe(file[5 * 192 + 3]);
    expect(one.shape('transformer.wte.weight')).toEqual([150, 48]);
  }
});

test("GPT-NeoX's head is found by either name; sources that need nothing stay as they are", async () => {
  const { config, source } = await opened('gpt-neox');
  expect(canonicalTensors(config, source)).toBe(source);
  const other = renamed(source, (name) => name.replace('embed_out', 'lm_head'));
  checkTensors(config, other);
  expect(canonicalTensors(config, other).shape('embed_out.weight')).toEqual([168, 64]);
});

test('a transposed matrix has the same values, as halves where rows stay whole words', () => {
  const values = Float32Array.from({ length: 12 }, (_, i) => i / 4);
  for (const [rows, cols, kind] of [
    [4, 3, 'f16'],
    [3, 4, 'f32'],
  ] as const) {
    const turned = transposedMatrix(packMatrix(values, rows, cols, { kind: 'f16' }));
    expect([turned.format.kind, turned.rows, turned.cols]).toEqual([kind, cols, rows]);
    const got = unpack(turned);
    for (let i = 0; i < 12; i++) expect(got[(i % cols) * rows + Math.floor(i / cols)]).toBe(values[i]);
  }
});
