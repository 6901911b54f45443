import { expect, test } from 'vitest';
import { identityOf } from './identity.ts';
import { assigned } from './project.ts';

const recipe = { pivot: 'p', sources: ['x', 'y', 'z', 'w'] };

test('every model of a recipe has a letter and a tone of its own', () => {
  const names = ['pivot', 'x', 'y', 'z', 'w', 'sft', 'fused'];
  const seen = names.map((name) => identityOf(name, recipe));
  expect(seen.map(({ letter }) => letter)).toEqual(['P', 'A', 'B', 'C', 'D', 'S', 'F']);
  expect(new Set(seen.map(({ tone }) => tone)).size).toBe(names.length);
});

test('a target wears the colour of its source, hollow; the pivot is known by both names', () => {
  const source = identityOf('y', recipe, { y: 'Why' });
  const target = identityOf('target:y', recipe, { y: 'Why' });
  expect(target).toEqual({ ...source, hollow: true, label: 'Target of Why' });
  expect(identityOf('p', recipe)).toEqual(identityOf('pivot', recipe));
  expect(identityOf('merged', recipe)).toEqual(identityOf('fused', recipe));
  expect(identityOf('stranger', recipe).label).toBe('stranger');
});

test('there is always one pivot, and at least one and at most four sources', () => {
  expect(assigned('p', ['x', 'y'], 'y', 'pivot')).toEqual({ pivot: 'y', sources: ['p', 'x'] });
  expect(assigned('p', ['x', 'y'], 'n', 'pivot')).toEqual({ pivot: 'n', sources: ['p', 'x', 'y'] });
  expect(assigned('p', ['x', 'y', 'z', 'w'], 'n', 'pivot').sources).toEqual(['p', 'x', 'y', 'z']);
  expect(assigned('p', ['x'], 'x', 'off')).toEqual({ pivot: 'p', sources: ['x'] });
  expect(assigned('p', ['x', 'y'], 'x', 'off')).toEqual({ pivot: 'p', sources: ['y'] });
  expect(assigned('p', ['x'], 'p', 'off')).toEqual({ pivot: 'p', sources: ['x'] });
  expect(assigned('p', ['x'], 'y', 'source')).toEqual({ pivot: 'p', sources: ['x', 'y'] });
  expect(assigned('p', ['x', 'y', 'z', 'w'], 'n', 'source').sources).toHaveLength(4);
});
