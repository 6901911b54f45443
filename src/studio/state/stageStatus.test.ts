import { expect, test } from 'vitest';
import { stageIds } from './layout.ts';
import { changesResults, type StageFacts, stageStatus } from './stageStatus.ts';

const fresh: StageFacts = {
  hasRecipe: true,
  deviceReady: true,
  runStatus: 'idle',
  current: undefined,
  hasAlignment: false,
  aligned: false,
  hasReport: false,
  hasMerge: false,
  changedPaths: [],
  chatting: false,
  hasTurns: false,
};
const all = (facts: StageFacts) => stageIds.map((id) => stageStatus(id, facts));
const finished: StageFacts = {
  ...fresh,
  runStatus: 'done',
  hasAlignment: true,
  aligned: true,
  hasReport: true,
  hasMerge: true,
  hasTurns: true,
};

test('from nothing to a finished run', () => {
  expect(all({ ...fresh, hasRecipe: false, deviceReady: false })).toEqual(Array(5).fill('empty'));
  expect(all({ ...fresh, deviceReady: false })).toEqual(['done', 'ready', 'empty', 'empty', 'empty']);
  expect(all(fresh)).toEqual(['done', 'ready', 'ready', 'empty', 'ready']);
  expect(all(finished)).toEqual(Array(5).fill('done'));
});

test('the stage that works shows it, also while paused', () => {
  const running = {
    ...fresh,
    runStatus: 'running' as const,
    current: 'align' as const,
  };
  expect(all(running)).toEqual(['done', 'running', 'running', 'empty', 'ready']);
  expect(all({ ...running, runStatus: 'paused' })).toEqual(['done', 'paused', 'paused', 'empty', 'ready']);
  expect(stageStatus('fuse', { ...fresh, runStatus: 'failed' })).toBe('failed');
});

test('a change makes stale what hangs on it and nothing above', () => {
  expect(all({ ...finished, changedPaths: ['merge.method'] })).toEqual([
    'done',
    'done',
    'done',
    'stale',
    'stale',
  ]);
  expect(all({ ...finished, changedPaths: ['fuse.lambda'] })).toEqual([
    'done',
    'done',
    'stale',
    'stale',
    'stale',
  ]);
  expect(all({ ...finished, changedPaths: ['sources'] })).toEqual([
    'done',
    'stale',
    'stale',
    'stale',
    'stale',
  ]);
  const harmless = ['name', 'memory.limit', 'memory.scoreTokens', 'train.recompute'];
  expect(all({ ...finished, changedPaths: harmless })).toEqual(Array(5).fill('done'));
  expect(changesResults(harmless)).toBe(false);
  expect(changesResults([...harmless, 'precision'])).toBe(true);
  expect(stageStatus('align', { ...finished, changedPaths: ['precision'] })).toBe('stale');
});
