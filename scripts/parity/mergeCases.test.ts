import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runMergeCases } from './mergeCases.ts';

test('recorded cases of linear, SCE and task arithmetic', () => {
  const file = new URL('../../fixtures/goldens/merge.json', import.meta.url);
  const results = runMergeCases(JSON.parse(readFileSync(file, 'utf8')), 'merge.json');
  const run = results.filter(({ outcome }) => outcome !== 'skipped');
  expect(run.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  expect(run.map(({ name }) => name)).toEqual([
    'linear_normalized',
    'linear_unnormalized',
    'linear_1d',
    'linear_embed_mismatch_truncates',
    'task_arithmetic',
    'task_arithmetic_lambda',
    'task_arithmetic_normalized',
    'sce_topk1',
    'sce_small_deltas_uniform_weights',
    'sce_frozen_tensor_PEER_BUG',
  ]);
});

test('a recorded case with one wrong number fails', () => {
  const one = {
    name: 'wrong',
    method: 'linear',
    inputs: { A: [1, 2], B: [3, 4] },
    model_params: { A: { weight: 1 }, B: { weight: 1 } },
    expected: [2, 3.01],
    tol_abs: 2e-6,
  };
  expect(runMergeCases({ cases: [one] }, 'x')[0]?.outcome).toBe('failed');
  expect(() => runMergeCases({}, 'x.json')).toThrow(/x\.json/);
});
