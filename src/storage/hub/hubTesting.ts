/** For tests: models of a few hundred bytes, and requests that never really wait. */
import { AlloyError } from '../../util/errors.ts';
import type { Patience } from './attempts.ts';

/** Bytes that look like nothing and are the same every time. */
export function noise(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  let state = seed >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

export const weights = noise(5000);

/** A repository with weights in one file and in GGUF. */
export const repository = {
  'README.md': 'A model.',
  'config.json': '{"model_type": "llama"}',
  'tokenizer.json': '{"version": "1.0"}',
  'model.safetensors': weights,
};

export const shards = {
  'config.json': '{}',
  'tokenizer.json': '{}',
  'model.safetensors.index.json': JSON.stringify({
    weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' },
  }),
  'model-00001-of-00002.safetensors': noise(3000, 2),
  'model-00002-of-00002.safetensors': noise(2000, 3),
};

/** A clock that notes how long it was asked to wait and goes on at once. */
export function noPatience(waits: number[] = []): Partial<Patience> {
  return {
    stallMs: 2000,
    random: () => 1,
    async sleep(ms, signal) {
      waits.push(ms);
      if (signal?.aborted) throw new AlloyError('cancelled', 'It was stopped.');
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
