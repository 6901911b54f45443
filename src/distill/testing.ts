import { testValues } from '../device/testing.ts';
import type { DecoderConfig } from '../models/config.ts';
import type { TensorSource } from '../models/tensorSource.ts';
import { decoderTensors } from '../models/weights.ts';
import { required } from '../util/errors.ts';
import type { MicroBatch } from './trainer.ts';

/** AdamW as tests of training take it: clipped, without weight decay. */
export const ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 } as const;

/** Random weights of a model: norms near 1, the rest about 0.4. */
export function randomTensors(config: DecoderConfig): TensorSource {
  const specs = new Map(
    decoderTensors(config).map((spec, index) => [spec.name, { ...spec, seed: index + 1 }]),
  );
  const values = (name: string) => {
    const { shape, seed } = required(specs.get(name), name);
    const count = shape.reduce((product, size) => product * size, 1);
    const norm =
      shape.length === 1 && name.includes('norm') && config.norm.kind === 'rms' && config.norm.offset === 0;
    return testValues(count, seed, shape.length === 1 ? 0.3 : 0.4).map((x) => x + (norm ? 1 : 0));
  };
  return {
    file: 'random',
    shape: (name) => specs.get(name)?.shape,
    vector: async (name) => values(name),
    async matrix(name) {
      const [rows = 1, cols = 1] = required(specs.get(name), name).shape;
      return { format: { kind: 'f32' }, rows, cols, data: values(name) };
    },
  };
}

/**
 * Tokens, labels for two rows of three and, with `kept`, teacher rows for every second one.
 * @param kept entries of a teacher row
 */
export function randomBatch(
  { vocab, rows, length }: { readonly vocab: number; readonly rows: number; readonly length: number },
  seed: number,
  kept = 0,
): MicroBatch {
  const pick = (count: number, at: number) =>
    Uint32Array.from(testValues(count, at), (x) => Math.floor(((x + 1) / 2) * vocab));
  const tokens = pick(rows, seed);
  const labels = Int32Array.from(pick(rows, seed + 1), (label, row) => (row % 3 === 0 ? -100 : label));
  const weights = new Float32Array(2 * rows);
  labels.forEach((label, row) => {
    if (label < 0) return;
    weights[2 * row] = 0.05;
    if (kept > 0 && row % 2 === 0) weights[2 * row + 1] = 0.04;
  });
  if (kept === 0) return { length, tokens, labels, weights };
  const ids = Uint32Array.from(
    { length: rows * kept },
    (_, i) => (Math.floor(i / kept) + 7 * (i % kept)) % vocab,
  );
  const probs = Float32Array.from({ length: rows * kept }, (_, i) => 0.5 / (1 + (i % kept)) / kept);
  const counts = new Uint32Array(rows).map((_, row) => (row % 2 === 0 ? kept : 0));
  return { length, tokens, labels, weights, teacher: { ids, probs, counts } };
}
