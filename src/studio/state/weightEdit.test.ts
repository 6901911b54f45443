import { describe, expect, test } from 'vitest';
import { fakeMerge } from '../testing/fakeData.ts';
import { boxBetween, cellsWhere, indexCells, operate, operateOn, overridden } from './weightEdit.ts';

const view = fakeMerge('sce', ['a', 'b', 'c']);
const at = indexCells(view);
const names = (cells: readonly number[]) =>
  cells
    .map((index) => `${view.cells[index]?.source}.${view.cells[index]?.layer}.${view.cells[index]?.matrix}`)
    .sort();

describe('operations', () => {
  test('a hundred steps of a hundredth are exactly one', () => {
    let weight = 0;
    for (let i = 0; i < 100; i++) weight = operate(weight, 'add', 0.01);
    expect(weight).toBe(1);
  });

  test('only selected cells move', () => {
    expect(operateOn([0.1, 0.2, 0.3], new Set([1]), 'set', 0.9)).toEqual([0.1, 0.9, 0.3]);
    expect(operateOn([0.1, 0.2, 0.3], new Set([0, 2]), 'multiply', 0.5)).toEqual([0.05, 0.2, 0.15]);
    expect(operateOn([0.1, -0.2], new Set([0, 1]), 'add', -0.1)).toEqual([0, -0.3]);
  });

  test('a cell counts as set by hand while it differs from the computed weight', () => {
    const weights = view.cells.map((cell) => cell.weight);
    expect(overridden(view, weights)).toEqual([]);
    const moved = operateOn(weights, new Set([5]), 'add', 0.01);
    expect(overridden(view, moved)).toEqual([5]);
    expect(overridden(view, operateOn(moved, new Set([5]), 'add', -0.01))).toEqual([]);
  });
});

describe('selection', () => {
  test('a box spans layers, matrices and sources, from either corner', () => {
    const box = boxBetween(view, at(1, 3, 'v'), at(0, 2, 'k'));
    expect(names(box)).toEqual(['0.2.k', '0.2.v', '0.3.k', '0.3.v', '1.2.k', '1.2.v', '1.3.k', '1.3.v']);
    expect(boxBetween(view, at(0, 2, 'k'), at(1, 3, 'v'))).toEqual(box);
    expect(boxBetween(view, at(0, 0, 'q'), at(0, 0, 'q'))).toEqual([at(0, 0, 'q')]);
    expect(boxBetween(view, 0, 1e6)).toEqual([]);
  });

  test('headers select rows, columns and whole sources', () => {
    expect(cellsWhere(view, { source: 2 })).toHaveLength(view.layers * view.matrices.length);
    expect(names(cellsWhere(view, { source: 1, layer: 0 }))).toEqual(
      view.matrices.map((matrix) => `1.0.${matrix}`).sort(),
    );
    expect(cellsWhere(view, { matrix: 'up' })).toHaveLength(view.layers * 3);
    expect(cellsWhere(view, {})).toHaveLength(view.cells.length);
  });
});
