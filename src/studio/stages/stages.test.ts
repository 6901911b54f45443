import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../pipeline/recipe.ts';
import { recipeValue } from '../state/recipeChanges.ts';
import type { RunTask } from '../state/run.ts';
import { fakeAlignment, fakeHeldout, fakeRecipe } from '../testing/fakeData.ts';
import { coverageOf } from './align/coverage.ts';
import { pickSuggestions } from './chat/pickSuggestions.ts';
import { stageProgress } from './fuse/progress.ts';
import { settingGroups, settingName, showValue } from './fuse/settings.ts';

const task = (
  stage: RunTask['stage'],
  label: string,
  state: RunTask['state'],
  done = 0,
  total = 0,
): RunTask => ({
  stage,
  label,
  state,
  done,
  total,
  cached: false,
  secondsLeft: undefined,
});

describe('settings', () => {
  const settings = settingGroups.flatMap((group) => group.settings);
  const parsed = recipeSchema.parse({
    name: 'x',
    pivot: 'p',
    sources: ['s'],
    data: { train: ['t'], heldout: ['h'] },
    train: { steps: 10 },
  });

  test('every one is a value of the recipe, and its bounds are ones that the schema takes', () => {
    for (const setting of settings) {
      expect(recipeValue(parsed, setting.path), setting.path).toBeDefined();
      const values =
        setting.kind === 'choice'
          ? setting.options.map((option) => option.value)
          : [setting.minimum, setting.maximum];
      for (const value of values) {
        const edited = structuredClone(parsed) as Record<string, unknown>;
        const keys = setting.path.split('.');
        const parent = (keys.length > 1 ? edited[keys[0]!] : edited) as Record<string, unknown>;
        parent[keys.at(-1)!] = value;
        expect(recipeSchema.safeParse(edited).success, `${setting.path} = ${value}`).toBe(true);
      }
    }
  });

  test('the fake recipe is one that the schema takes', () => {
    expect(recipeSchema.parse(fakeRecipe)).toEqual(fakeRecipe);
  });

  test('names and values for the list of changes', () => {
    expect(settingName('fuse.lambda')).toMatch(/λ/);
    expect(showValue(3e8, 'memory.limit')).toBe('300 MB');
    expect(showValue('adamw8bit', 'train.optimizer')).toBe('AdamW in 8 bits');
    expect(settingName('train.warmup')).toBe('train.warmup');
    expect([1e-4, 0.001, undefined, ['a', 'b']].map((value) => showValue(value))).toEqual([
      '1e-4',
      '0.001',
      'none',
      'a, b',
    ]);
  });
});

describe('progress', () => {
  const tasks = [
    task('represent', 'p', 'done', 5, 5),
    task('evaluate', 'p', 'done', 3, 3),
    task('represent', 'a', 'running', 2, 4),
  ];

  test('stages take turns: what is done counts, what comes later waits', () => {
    expect(stageProgress('align', tasks, 3, false)).toMatchObject({
      state: 'waiting',
      share: 0,
      expected: 3,
    });
    expect(stageProgress('represent', tasks, 3, false)).toMatchObject({ state: 'running', share: 1.5 / 4 });
    expect(stageProgress('evaluate', tasks, 3, false)).toMatchObject({
      state: 'partial',
      finished: 1,
      expected: 11,
    });
  });

  test('a stage is done with its last task, or with the run', () => {
    const all = ['p', 'a', 'b', 'c'].map((name) => task('represent', name, 'done', 4, 4));
    expect(stageProgress('represent', all, 3, false)).toMatchObject({ state: 'done', share: 1 });
    const fewer = [task('evaluate', 'p', 'done', 4, 4)];
    expect(stageProgress('evaluate', fewer, 3, true)).toMatchObject({ state: 'done', share: 1, expected: 1 });
    expect(stageProgress('distil', [task('distil', 'sft', 'stopped', 3, 10)], 3, false).state).toBe(
      'stopped',
    );
  });
});

test('coverage of one conversation counts what the lanes show', () => {
  const view = fakeAlignment('pivot-1m', 'fauna-3m', fakeHeldout[6]!);
  const { coverage, scored, reasons, tokensPerByte } = coverageOf(view);
  expect(Object.values(reasons).reduce((sum, count) => sum + count, 0)).toBe(view.pivot.length);
  expect(coverage).toBe(reasons.paired / scored);
  expect(tokensPerByte.pivot).toBeGreaterThan(tokensPerByte.source);
});

test('one suggestion for each domain, and some more where there are few', () => {
  const same = fakeHeldout.map((conversation) => ({ ...conversation, domain: 'one' }));
  expect(pickSuggestions(same)).toHaveLength(6);
  expect(pickSuggestions([])).toEqual([]);
  const domains = pickSuggestions(fakeHeldout).map((conversation) => conversation.domain);
  expect(domains).toEqual(['animals', 'food', 'things', 'words', 'numbers', 'calendar']);
});
