/** The three real model files. Needs them: `npx tsx scripts/realModels.ts`. */
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { modelCacheFolder } from '../storage/nodeFolders.ts';
import { nodeFileSource } from '../storage/nodeStorage.ts';
import { halfToFloat } from '../util/halfFloat.ts';
import { GgufModel } from './ggufModel.ts';
import type { PackedMatrix } from './repack.ts';

const folder = modelCacheFolder();
const files = await readdir(folder).catch(() => []);

interface Golden {
  model: Record<string, unknown> & { tensor_types: Record<string, number> };
}

/** Whether every value of a packed matrix is the dequantized one, bit for bit but for the sign of zero. */
function differing({ format, data, scales }: PackedMatrix, values: Float32Array): number {
  const floats = new Float32Array(scales.buffer);
  const codes = new Uint8Array(data.buffer);
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    const g = Math.floor(i / format.group);
    const q = format.bits === 8 ? codes[i]! : (codes[i >> 1]! >> ((i & 1) * 4)) & 15;
    const half = format.scales === 'f16';
    const scale = half ? halfToFloat(scales[g]! & 0xffff) : floats[2 * g]!;
    const minimum = half ? halfToFloat(scales[g]! >>> 16) : floats[2 * g + 1]!;
    if (Math.fround(Math.fround(scale * q) + minimum) !== values[i]) count++;
  }
  return count;
}

describe.each(['SmolLM2-135M-Instruct', 'Qwen2.5-Coder-0.5B-Instruct', 'gemma-3-270m'])('%s', (name) => {
  const file = files.find((entry) => entry.startsWith(name) && entry.endsWith('.gguf'));

  test.skipIf(file === undefined)('config and matrices', async () => {
    const { model: wanted }: Golden = JSON.parse(
      readFileSync(new URL(`../../fixtures/goldens/real/${name}.json`, import.meta.url), 'utf8'),
    );
    const model = await GgufModel.open(await nodeFileSource(join(folder, file!)));
    const { config } = model;
    expect(config).toMatchObject({
      num_hidden_layers: wanted.layers,
      hidden_size: wanted.hidden,
      intermediate_size: wanted.ffn,
      num_attention_heads: wanted.heads,
      num_key_value_heads: wanted.kv_heads,
      head_dim: wanted.head_dim,
      vocab_size: wanted.vocab,
      max_position_embeddings: wanted.context,
      rms_norm_eps: wanted.norm_eps,
      rope_theta: wanted.rope_theta,
      tie_word_embeddings: wanted.tied_embeddings,
      bos_token_id: wanted.bos,
      eos_token_id: wanted.eos,
    });
    if (wanted.architecture === 'gemma3') {
      const layers = config.layer_types as string[];
      const full = layers.flatMap((type, i) => (type === 'full_attention' ? [i] : []));
      expect(full).toEqual(wanted.full_attention_layers);
      expect(config).toMatchObject({
        sliding_window: wanted.sliding_window,
        rope_local_base_freq: wanted.rope_theta_sliding,
        query_pre_attn_scalar: wanted.query_pre_attn_scalar,
        norm_includes_one: true,
      });
    }
    const types: Record<string, number> = {};
    let parameters = 0;
    for (const { tensor } of model.tensors.values()) {
      types[tensor.type.name] = (types[tensor.type.name] ?? 0) + 1;
      parameters += tensor.shape.reduce((product, size) => product * size, 1);
    }
    expect(types).toEqual(wanted.tensor_types);
    expect(parameters).toBe(wanted.parameters);
    const seen = new Set<string>();
    for (const [tensor, { tensor: info }] of model.tensors) {
      if (seen.has(info.type.name) || !tensor.startsWith('model.layers.')) continue;
      seen.add(info.type.name);
      const packed = await model.readPacked(tensor);
      if (packed !== null) expect(differing(packed, await model.readFloat32(tensor))).toBe(0);
    }
  });
});
