import { expect, test } from 'vitest';
import { fakeRecipe } from '../testing/fakeData.ts';
import { recipeChanges, recipeValue, withValue } from './recipeChanges.ts';

test('names every changed leaf by its path, and nothing else', () => {
  const edited = withValue(withValue(fakeRecipe, 'fuse.lambda', 0.9), 'sources', ['fauna-3m']);
  expect(recipeChanges(fakeRecipe, fakeRecipe)).toEqual([]);
  expect(recipeChanges(fakeRecipe, structuredClone(fakeRecipe))).toEqual([]);
  expect(recipeChanges(fakeRecipe, edited)).toEqual([
    { path: 'sources', before: fakeRecipe.sources, after: ['fauna-3m'] },
    { path: 'fuse.lambda', before: fakeRecipe.fuse.lambda, after: 0.9 },
  ]);
});

test('an optional value can be taken out and put back', () => {
  const without = withValue(fakeRecipe, 'train.steps', undefined);
  expect('steps' in without.train).toBe(false);
  expect(recipeChanges(fakeRecipe, without)).toEqual([
    { path: 'train.steps', before: 160, after: undefined },
  ]);
  expect(recipeChanges(fakeRecipe, withValue(without, 'train.steps', 160))).toEqual([]);
});

test('the recipe that was given is left alone', () => {
  const before = JSON.stringify(fakeRecipe);
  withValue(fakeRecipe, 'train.learningRate', 1);
  expect(JSON.stringify(fakeRecipe)).toBe(before);
  expect(recipeValue(fakeRecipe, 'train.learningRate')).toBe(1e-3);
  expect(recipeValue(fakeRecipe, 'train.nothing.here')).toBeUndefined();
});
