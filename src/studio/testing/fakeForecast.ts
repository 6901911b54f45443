import type { MemoryForecast } from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';

const WEIGHTS = 62e6;

/** A plan whose figures move with the recipe as real ones do. */
export function fakeForecast({ train, memory }: Recipe): MemoryForecast {
  const micro = train.microBatch ?? train.batch;
  const share = train.recompute === 'on' ? 0.2 : train.recompute === 'light' ? 0.7 : 1;
  const moments = train.optimizer === 'adamw8bit' ? 0.26 : 1;
  const parts = {
    weights: WEIGHTS,
    adapters: 4e5 * train.rank,
    gradients: 4e5 * train.rank,
    optimizer: 8e5 * train.rank * moments,
    activations: 38e6 * micro * share,
    logits: 33e6,
    scratch: 2e6,
    staging: 6e6,
  };
  const bytes = Object.values(parts).reduce((sum, part) => sum + part, 0);
  const fits = memory.limit === undefined || bytes <= memory.limit;
  const saved = (next: number) => parts.activations - 38e6 * micro * next;
  const step = (path: string, value: unknown, what: string, savesBytes: number) => ({
    path,
    value,
    what,
    savesBytes,
    bytes: bytes - savesBytes,
  });
  const suggestions = [
    step(
      'train.recompute',
      'light',
      'norms and activations are worked out twice, with the same numbers',
      saved(0.7),
    ),
    step(
      'train.recompute',
      'on',
      'layers are worked out twice, with the same numbers, a third slower',
      saved(0.2),
    ),
    step(
      'train.microBatch',
      Math.ceil(micro / 2),
      `${Math.ceil(micro / 2)} conversations at once instead of ${micro}, summed up to the same batch`,
      parts.activations / 2,
    ),
    step('train.optimizer', 'adamw8bit', 'the optimizer keeps its moments in 8 bits', parts.optimizer * 0.74),
  ].filter(({ savesBytes }) => savesBytes > 0.01 * bytes);
  const [, least] = suggestions;
  return {
    peak: { phase: 'train', bytes, parts },
    phases: [
      { phase: 'read pivot-1m', bytes: WEIGHTS + 40e6 },
      { phase: 'train', bytes },
      { phase: 'merge', bytes: WEIGHTS + 70e6 },
    ],
    fits,
    chosen: [],
    suggestions,
    ...(memory.limit !== undefined && { limitBytes: memory.limit }),
    ...(!fits &&
      least &&
      memory.limit !== undefined && {
        smaller: { fits: least.bytes <= memory.limit, bytes: least.bytes, steps: [least] },
      }),
  };
}
