// @vitest-environment happy-dom
import { beforeEach, describe, expect, test } from 'vitest';
import type { Engine } from '../../pipeline/protocol.ts';
import { AlloyError } from '../../util/errors.ts';
import { fakeRecipe } from '../testing/fakeData.ts';
import { createFakeEngine } from '../testing/fakeEngine.ts';
import { setEngine } from './client.ts';
import { keepEdits, withKeptEdits } from './keptEdits.ts';
import { assign, editRecipe, keepRecipe, loadProject, useProject } from './project.ts';
import { withValue } from './recipeChanges.ts';

beforeEach(() => localStorage.clear());

test('edits come back on top of the recipe of the day', () => {
  const edited = withValue(withValue(fakeRecipe, 'fuse.lambda', 0.8), 'train.steps', undefined);
  keepEdits(fakeRecipe, edited);
  expect(withKeptEdits(fakeRecipe)).toEqual(edited);
  const newer = withValue(fakeRecipe, 'train.rank', 32);
  expect(withKeptEdits(newer)).toEqual(withValue(edited, 'train.rank', 32));
  keepEdits(fakeRecipe, fakeRecipe);
  expect(withKeptEdits(fakeRecipe)).toBeUndefined();
});

test('what somebody else left there is not read', () => {
  for (const text of [
    '{',
    'null',
    '7',
    '{"version":1}',
    '{"version":1,"edits":[7,{"path":1}]}',
    '{"version":9,"edits":[]}',
  ]) {
    localStorage.setItem('alloy-recipe', text);
    expect(withKeptEdits(fakeRecipe)).toBeUndefined();
  }
});

describe('over a reload', () => {
  const load = async (checkRecipe: Engine['checkRecipe'] = async (recipe) => recipe) => {
    setEngine({ ...createFakeEngine(), checkRecipe });
    useProject.setState(useProject.getInitialState(), true);
    await loadProject();
    return useProject.getState();
  };

  test('the recipe is as it was, and reset still goes back to the sample’s', async () => {
    const leave = keepRecipe();
    await load();
    editRecipe('train.steps', 12);
    assign('fauna-3m', 'off');
    const { recipe } = useProject.getState();
    leave();
    const { recipe: again, defaults } = await load();
    expect(again).toEqual(recipe);
    expect(again).toMatchObject({ train: { steps: 12 }, sources: ['lexis-2m', 'tally-4m'] });
    expect(defaults).toEqual(fakeRecipe);
  });

  test('a recipe that is not valid any more, or names a model that is gone, gives way to the sample’s', async () => {
    keepEdits(fakeRecipe, withValue(fakeRecipe, 'train.rank', 0));
    const refuse = () => Promise.reject(new AlloyError('bad-recipe', 'train.rank is too small.'));
    expect((await load(refuse)).recipe).toEqual(fakeRecipe);
    expect(withKeptEdits(fakeRecipe)).toBeUndefined();
    keepEdits(fakeRecipe, withValue(fakeRecipe, 'sources', ['nobody']));
    expect((await load()).recipe).toEqual(fakeRecipe);
  });
});
