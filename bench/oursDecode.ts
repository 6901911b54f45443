/** Generation with `Generator`. */
import type { Device } from '../src/device/device.ts';
import { Generator, GREEDY } from '../src/models/generator.ts';
import type { TensorSource } from '../src/models/tensorSource.ts';
import { decoderTensors, loadDecoder } from '../src/models/weights.ts';
import { BEST, type DecodeCase, decodeConfig, decodeMatrix, decodeTokens } from './decodeCase.ts';
import type { DecodeRunner } from './engine.ts';

/** The weights of the case as GGUF's Q4_0 would be on the GPU; norms are 1. */
export function packedTensors(decodeCase: DecodeCase): TensorSource {
  const shapes = new Map(decoderTensors(decodeConfig(decodeCase)).map(({ name, shape }) => [name, shape]));
  return {
    file: decodeCase.name,
    shape: (name) => shapes.get(name),
    vector: async (name) => new Float32Array(shapes.get(name)?.[0] ?? 0).fill(1),
    async matrix(name) {
      const { rows, cols, nibbles, scales } = decodeMatrix(decodeCase, name);
      const pairs = new Float32Array(2 * scales.length);
      scales.forEach((scale, group) => {
        pairs.set([scale, -8 * scale], 2 * group);
      });
      return {
        format: { kind: 'affine', bits: 4, group: 32, scales: 'f32' },
        rows,
        cols,
        data: new Uint32Array(nibbles.buffer),
        scales: new Uint32Array(pairs.buffer),
      };
    },
  };
}

export async function openDecode(device: Device, decodeCase: DecodeCase): Promise<DecodeRunner> {
  const config = decodeConfig(decodeCase);
  const { weights } = await loadDecoder(device, config, packedTensors(decodeCase));
  const capacity = decodeCase.prompt + decodeCase.answer;
  const generator = new Generator(device, config, weights, { capacity });
  const tokens = decodeTokens(decodeCase, decodeCase.prompt);
  const row = await generator.prompt(tokens);
  return {
    best: [...row.ids].slice(0, BEST).map((id, e) => {
      return { id, below: (row.logProbs[0] ?? 0) - (row.logProbs[e] ?? Number.NaN) };
    }),
    async decode(count) {
      const ids: number[] = [];
      for await (const { id } of generator.generate(tokens, { ...GREEDY, maxNewTokens: count }, []))
        ids.push(id);
      tokens.push(...ids);
      return ids;
    },
  };
}
