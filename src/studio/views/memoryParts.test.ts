import { expect, test } from 'vitest';
import type { MemoryParts } from '../../device/memoryLedger.ts';
import { barScale, memoryParts, phaseWords } from './memoryParts.ts';

test('every kind of memory is in one part of the bar', () => {
  const parts: MemoryParts = {
    weights: 1,
    adapters: 2,
    gradients: 4,
    optimizer: 8,
    activations: 16,
    logits: 32,
    cache: 64,
    scratch: 128,
    staging: 256,
  };
  const shown = memoryParts({ ...parts });
  expect(shown.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(511);
  expect(new Set(shown.map(({ fill }) => fill)).size).toBe(shown.length);
  expect(memoryParts({ weights: 5, cache: 0 }).map(({ name }) => name)).toEqual(['Weights']);
});

test('the bar ends at the larger of what is used and what may be', () => {
  expect(barScale(50, 200)).toEqual({ used: 0.25, limit: 1 });
  expect(barScale(400, 200)).toEqual({ used: 1, limit: 0.5 });
  expect(barScale(50, undefined)).toEqual({ used: 1, limit: undefined });
});

test('phases are told in words', () => {
  expect(phaseWords('train')).toBe('while training');
  expect(phaseWords('read lexis-2m')).toBe('while reading rows of lexis-2m');
  expect(phaseWords('evaluate hub:a/b c')).toBe('while evaluating hub:a/b c');
});
