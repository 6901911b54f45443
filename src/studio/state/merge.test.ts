import { beforeEach, expect, test, vi } from 'vitest';
import type { Engine } from '../../pipeline/protocol.ts';
import { createFakeEngine } from '../testing/fakeEngine.ts';
import { setEngine } from './client.ts';
import {
  changeWeights,
  loadMerge,
  redo,
  resetCells,
  select,
  setMethod,
  setPrompt,
  undo,
  useMerge,
} from './merge.ts';
import { operateOn, overridden } from './weightEdit.ts';

let written: { layer: number; matrix: string; source: number; weight: number }[][];
let probes: number;

beforeEach(async () => {
  written = [];
  probes = 0;
  const fake = createFakeEngine();
  const spied: Engine = {
    ...fake,
    setWeights: async (cells) => {
      written.push([...cells]);
      return fake.setWeights(cells);
    },
    probe: async () => {
      probes++;
      return fake.probe();
    },
  };
  setEngine(spied);
  useMerge.setState(useMerge.getInitialState());
  await loadMerge();
  await vi.waitFor(() => expect(useMerge.getState().probing).toBe(false));
});

const state = () => useMerge.getState();
const settled = () => vi.waitFor(() => expect(state().probing || state().predicting).toBe(false));
const nudge = (cells: readonly number[], by: number, step: 'new' | 'same' = 'new') =>
  changeWeights(operateOn(state().weights, new Set(cells), 'add', by), step);

test('sends only the cells that changed, and scores the probe once after a flurry', async () => {
  expect(probes).toBe(1);
  for (let i = 0; i < 20; i++) nudge([3, 4], 0.01, i === 0 ? 'new' : 'same');
  await settled();
  const last = written.at(-1)!;
  expect(last.map(({ weight }) => weight)).toEqual([state().weights[3], state().weights[4]]);
  expect(written.flat()).toHaveLength(2 * written.length);
  expect(probes).toBe(2);
  expect(state().probe?.nllPerByte).not.toBe(state().probeReference?.nllPerByte);
});

test('a drag is one step of undo, and undo reaches the model', async () => {
  const before = state().weights;
  nudge([0], 0.1);
  nudge([0], 0.1, 'same');
  nudge([1], -0.1);
  expect(state().past).toHaveLength(2);
  undo();
  undo();
  expect(state().weights).toEqual(before);
  redo();
  expect(state().weights[0]).toBeCloseTo(before[0]! + 0.2, 6);
  await settled();
  expect(written.at(-1)).toMatchObject([{ weight: state().weights[0] }]);
});

test('reset puts back what was computed, for some cells or all', () => {
  nudge([0, 1, 2], 0.2);
  resetCells(new Set([1]));
  expect(overridden(state().view!, state().weights)).toEqual([0, 2]);
  resetCells();
  expect(overridden(state().view!, state().weights)).toEqual([]);
});

test('weights set by hand come back with their method', async () => {
  nudge([2], 0.3);
  const byHand = state().weights;
  await setMethod('linear');
  expect(state().view?.method).toBe('linear');
  expect(overridden(state().view!, state().weights)).toEqual([]);
  await setMethod('sce');
  expect(state().weights).toEqual(byHand);
  await settled();
});

test('selection: replace, add, toggle', () => {
  select([1, 2], 'replace', 1);
  select([3], 'add');
  expect([...state().selection]).toEqual([1, 2, 3]);
  select([2, 3], 'toggle');
  expect([...state().selection]).toEqual([1]);
  expect(state().anchor).toBe(1);
});

test('the reference is the first distribution of a prompt', async () => {
  setPrompt('Name an animal.');
  await settled();
  const reference = state().nextReference;
  expect(reference.length).toBeGreaterThan(0);
  nudge([0, 5, 9, 20], 0.5);
  await settled();
  expect(state().nextReference).toBe(reference);
  expect(state().next).not.toEqual(reference);
});
