/**
 * Generation as transformers.js does it: one run of onnxruntime-web a token, the cache from run to run where it is computed, logits
 * read back and the next token chosen on the host. Tokens are embedded on the host, which costs it nothing.
 */
import type * as Ort from 'onnxruntime-web';
import {
  BEST,
  DECODE_BLOCK,
  type DecodeCase,
  decodeConfig,
  decodeMatrix,
  decodeTokens,
} from '../decodeCase.ts';
import type { DecodeRunner } from '../engine.ts';
import { decoderModel, type OrtWeights } from '../onnxDecoder.ts';

const EMBEDDING = 'model.embed_tokens.weight';

/** @param cacheLocation where the cache stays */
export async function openOrtDecode(
  ort: typeof Ort,
  options: Ort.InferenceSession.SessionOptions,
  cacheLocation: 'gpu-buffer' | 'cpu',
  decodeCase: DecodeCase,
  weights: OrtWeights = 'q4',
): Promise<DecodeRunner> {
  const { width, kvHeads, headDim, layers, vocabSize } = decodeConfig(decodeCase);
  const cache = layers.flatMap((_, layer) => [`${layer}.key`, `${layer}.value`]);
  const session = await ort.InferenceSession.create(decoderModel(decodeCase, weights), {
    ...options,
    preferredOutputLocation: {
      logits: 'cpu',
      ...Object.fromEntries(cache.map((name) => [`present.${name}`, cacheLocation] as const)),
    },
  });
  const embed = embedder(decodeCase, width);
  let past = cache.map(
    (): Ort.Tensor => new ort.Tensor('float32', new Float32Array(0), [1, kvHeads, 0, headDim]),
  );
  let length = 0;

  async function read(ids: readonly number[]): Promise<Float32Array> {
    length += ids.length;
    const outputs = await session.run({
      embeds: new ort.Tensor('float32', embed(ids), [1, ids.length, width]),
      seqlens_k: new ort.Tensor('int32', Int32Array.of(length - 1), [1]),
      total: new ort.Tensor('int32', Int32Array.of(length), []),
      ...Object.fromEntries(cache.map((name, index) => [`past.${name}`, past[index]])),
    });
    for (const tensor of past) tensor.dispose();
    past = cache.map((name) => outputs[`present.${name}`] as Ort.Tensor);
    const logits = (await outputs.logits?.getData()) as Float32Array;
    return logits.subarray(logits.length - vocabSize);
  }

  let row = await read(decodeTokens(decodeCase, decodeCase.prompt));
  let next = greedy(row);
  const order = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0)).slice(0, BEST);
  const best = order.map((id) => ({ id, below: (row[next] ?? 0) - (row[id] ?? Number.NaN) }));
  return {
    best,
    rounded: weights === 'int8',
    async decode(count) {
      const ids: number[] = [];
      for (; ids.length < count; next = greedy(row)) {
        ids.push(next);
        row = await read([next]);
      }
      return ids;
    },
  };
}

function greedy(row: Float32Array): number {
  let best = 0;
  for (let id = 1; id < row.length; id++) if ((row[id] ?? 0) > (row[best] ?? 0)) best = id;
  return best;
}

/** Rows of the 4-bit table. */
function embedder(decodeCase: DecodeCase, width: number): (ids: readonly number[]) => Float32Array {
  const { nibbles, scales } = decodeMatrix(decodeCase, EMBEDDING);
  return (ids) => {
    const values = new Float32Array(ids.length * width);
    for (let at = 0; at < values.length; at++) {
      const place = (ids[Math.floor(at / width)] ?? 0) * width + (at % width);
      const byte = nibbles[place >> 1] ?? 0;
      const code = place % 2 === 0 ? byte & 15 : byte >> 4;
      values[at] = (code - 8) * (scales[Math.floor(place / DECODE_BLOCK)] ?? 0);
    }
    return values;
  };
}
