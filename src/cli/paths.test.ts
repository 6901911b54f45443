import { describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { expandVariables, pathFrom } from './paths.ts';
import { variable } from './testing.ts';

describe('variables in paths', () => {
  test('are filled in, others stay', () => {
    const environment = { DATA: '/data', ALLOY_CACHE: '/cache' };
    expect(expandVariables(`${variable('DATA')}/a-${variable('ALLOY_CACHE')}`, environment, 'r')).toBe(
      '/data/a-/cache',
    );
    expect(expandVariables('$DATA/{x}/$(y)', environment, 'r')).toBe('$DATA/{x}/$(y)');
  });

  test('the model cache has a default', () => {
    expect(expandVariables(`${variable('ALLOY_CACHE')}/m.gguf`, {}, 'r')).toMatch(
      /\.cache\/alloy\/m\.gguf$/u,
    );
  });

  test('one that is not set is named', () => {
    const expand = () => expandVariables(`${variable('NOWHERE')}/a`, {}, 'r.yaml: pivot');
    expect(expand).toThrow(AlloyError);
    expect(expand).toThrow(/r\.yaml: pivot names \$\{NOWHERE\}.*set it/u);
  });

  test('an empty one counts as not set', () => {
    expect(() => expandVariables(variable('NOWHERE'), { NOWHERE: '' }, 'r')).toThrow(/not set/u);
  });
});

test('paths start from the folder unless they are whole', () => {
  expect(pathFrom('/recipes', '../data/a.jsonl', {}, 'r')).toBe('/data/a.jsonl');
  expect(pathFrom('/recipes', '/b.jsonl', {}, 'r')).toBe('/b.jsonl');
});
