import { describe, expect, test } from 'vitest';
import { PaperDevice } from '../device/paperDevice.ts';
import { parseConfig } from '../models/config.ts';
import { allowedSteps, doesNotFit, fitRecipe, memorySuggestions } from './memoryAdvice.ts';
import { memoryForecast } from './memoryForecast.ts';
import { guardMemory } from './memoryGuard.ts';
import { planFusion } from './memoryPlan.ts';
import { parseRecipe } from './recipe.ts';

const config = parseConfig(
  {
    model_type: 'llama',
    vocab_size: 900,
    hidden_size: 96,
    intermediate_size: 256,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
  'test',
);
const model = { name: 'model', config, format: () => ({ kind: 'f32' }) as const };
const models = { pivot: model, sources: [model] };
const adapter = { info: { tuning: 'gpu' as const } };

function recipe(train: object, extra: object = {}) {
  const data = { train: ['t'], heldout: ['h'] };
  return parseRecipe({ name: 'r', pivot: 'a', sources: ['b'], data, train, ...extra }, 'r');
}

const large = recipe({ rank: 8, batch: 8, maxTokens: 256, recompute: 'off' });

test('every suggestion saves what its plan says, and the plan of the changed recipe agrees', async () => {
  const plan = await planFusion(large, models, adapter);
  expect(plan.peak.phase).toBe('train');
  const found = await memorySuggestions(large, models, adapter, plan);
  const byPath = new Map(found.map((one) => [`${one.path}=${String(one.value)}`, one]));
  for (const key of [
    'train.recompute=light',
    'train.recompute=on',
    'train.microBatch=1',
    'train.maxTokens=128',
  ])
    expect([...byPath.keys()]).toContain(key);
  const half = byPath.get('train.microBatch=4')!;
  const changed = await planFusion(recipe({ ...large.train, microBatch: 4 }), models, adapter);
  expect(half.bytes).toBe(changed.peak.bytes);
  expect(half.savesBytes).toBe(plan.peak.bytes - changed.peak.bytes);
  expect(byPath.get('train.recompute=on')!.savesBytes).toBeGreaterThan(
    byPath.get('train.recompute=light')!.savesBytes,
  );
});

describe('a limit', () => {
  test('is met by the least harmful steps', async () => {
    const plan = await planFusion(large, models, adapter);
    const light = await planFusion(recipe({ ...large.train, recompute: 'light' }), models, adapter);
    const little = await fitRecipe(large, models, adapter, light.peak.bytes);
    expect(little).toMatchObject({ fits: true, recipe: { train: { recompute: 'light' } } });
    expect(little.steps.map(({ path }) => path)).toEqual(['train.recompute']);
    const much = await fitRecipe(large, models, adapter, plan.peak.bytes / 6);
    expect(much.fits).toBe(true);
    expect(much.plan.peak.bytes).toBeLessThanOrEqual(plan.peak.bytes / 6);
    expect(much.recipe.train).toMatchObject({ recompute: 'on', maxTokens: 256 });
    const again = await planFusion(much.recipe, models, adapter);
    expect(again.peak).toEqual(much.plan.peak);
    const enough = await fitRecipe(large, models, adapter, plan.peak.bytes);
    expect(enough.steps).toEqual([]);
  });

  test('that nothing meets is told with the smallest there is', async () => {
    const smallest = await fitRecipe(large, models, adapter, 1e6);
    expect(smallest.fits).toBe(false);
    expect(smallest.recipe).toMatchObject({
      precision: 'q4',
      train: { microBatch: 1, recompute: 'on' },
    });
    const { code, message } = doesNotFit(await planFusion(large, models, adapter), 1e6, smallest);
    expect(code).toBe('out-of-memory');
    expect(message).toMatch(
      /would take [\d.]+ MB on the device \(train\), but only 1.0 MB may be used, and even the smallest/u,
    );
    expect(message).toMatch(/too much; take smaller models/u);
  });

  test('is met without asking only by what the recipe leaves open', async () => {
    const open = recipe({ batch: 8, maxTokens: 256 });
    const may = allowedSteps(open);
    const fitted = await fitRecipe(open, models, adapter, 1e6, may);
    expect(fitted).toMatchObject({ fits: false, recipe: { train: { recompute: 'on', optimizer: 'adamw' } } });
    expect(fitted.recipe.train.microBatch).toBeUndefined();
    const all = allowedSteps(recipe({}, { memory: { limit: '1.5GB', shrink: true } }));
    expect(all({ path: 'train.maxTokens', value: 64, what: '' })).toBe(true);
  });
});

test('a table that no binding holds is met by smaller pieces of a run', async () => {
  const small = { ...adapter, limits: { bindingBytes: 2 ** 21 } };
  const plan = await planFusion(large, models, small);
  expect(plan.problem).toMatch(/binds at most/u);
  const { fits, steps, plan: smaller } = await fitRecipe(large, models, small, 1e9);
  expect(fits).toBe(true);
  expect(smaller.problem).toBeUndefined();
  expect(steps.length).toBeGreaterThan(0);
});

describe('on the processor, whose memory ends at 2 GB,', () => {
  const total = 2 ** 31 - 2 ** 26;
  const like = {
    info: { tuning: 'wasm' },
    limits: { bufferBytes: 2 ** 31, bindingBytes: 2 ** 31, totalBytes: total },
  } as const;
  const least = { rank: 4, batch: 1, maxTokens: 100, matrices: ['q', 'v'], recompute: 'on' };
  const few = recipe(least);
  const of = (width: number) => {
    const json = { model_type: 'llama', vocab_size: 32_000, num_hidden_layers: 4, num_attention_heads: 16 };
    const one = parseConfig({ ...json, hidden_size: width, intermediate_size: 4 * width }, 'test');
    const big = { name: 'big', config: one, format: () => ({ kind: 'f32' }) as const };
    return { pivot: big, sources: [big] };
  };
  const guard = (width: number) =>
    guardMemory({ device: new PaperDevice(like), onEvent: () => undefined }, few, of(width));

  test('a model that is too large for it is refused with how much too large it is', async () => {
    await expect(guard(2048)).rejects.toMatchObject({
      code: 'out-of-memory',
      message: expect.stringMatching(
        /would take [\d.]+ GB on the device .* only 2\.08 GB may be used; it fits with/u,
      ),
    });
    await expect(guard(10_240)).rejects.toMatchObject({
      code: 'out-of-memory',
      message: expect.stringMatching(
        /would take [\d.]+ GB on the device .*, and even the smallest, .* too much/u,
      ),
    });
  });

  test('the page is told the limit and what fits', async () => {
    const forecast = await memoryForecast(few, of(2048), like);
    expect(forecast).toMatchObject({ fits: false, limitBytes: total, smaller: { fits: true } });
    expect(forecast.smaller?.bytes).toBeLessThanOrEqual(total);
    const lower = recipe(least, { memory: { limit: '1.5GB' } });
    expect((await memoryForecast(lower, of(2048), like)).limitBytes).toBe(1.5e9);
  });
});

test('limits are read in words and in bytes, and refused otherwise', () => {
  expect(recipe({}, { memory: { limit: '1.5GB' } }).memory.limit).toBe(1.5e9);
  expect(recipe({}, { memory: { limit: 5e8 } }).memory.limit).toBe(5e8);
  expect(() => recipe({}, { memory: { limit: 'a lot' } })).toThrow(/memory\.limit.*a lot.*1\.5GB/u);
});
