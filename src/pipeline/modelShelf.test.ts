import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { BuiltinModels } from './builtinModels.ts';
import { ModelShelf } from './modelShelf.ts';
import { tinyHost } from './testing.ts';

const models = new BuiltinModels(tinyHost(testDevice).openFile);
const open = (name: string) => models.open(name);
const question = [{ role: 'user', content: 'hi' }] as const;

test('keeps what fits, and what is in use although it does not fit', async () => {
  const device = await testDevice();
  const before = device.stats.bytes;
  // Enough for one of the models, not for two.
  const shelf = new ModelShelf(device, open, 400_000);
  await shelf.use('pivot', async (pivot) => {
    const [best] = await pivot.nextTokens(question, 1);
    await shelf.use('reader', async () => expect(shelf.names).toEqual(['pivot', 'reader']));
    expect(shelf.names).toEqual(['pivot']);
    const [again] = await pivot.nextTokens(question, 1);
    expect(again?.text).toBe(best?.text);
    expect(again?.probability).toBeCloseTo(best?.probability ?? 0, 5);
  });
  await shelf.use('writer', async (writer) => {
    expect(shelf.names).toEqual(['writer']);
    expect(await writer.nextTokens(question, 5)).toHaveLength(5);
    await writer.close();
    await expect(writer.nextTokens(question, 5)).rejects.toMatchObject({ code: 'cancelled' });
  });
  expect(device.stats.bytes).toBe(before);
});

test('loads a model once for all who ask, and tries again after a failure', async () => {
  let opened = 0;
  let fail = true;
  const shelf = new ModelShelf(
    await testDevice(),
    async (name) => {
      opened++;
      if (fail) throw new Error('offline');
      return open(name);
    },
    1e9,
  );
  const ask = () => shelf.use('pivot', async (runner) => runner.model.name);
  await expect(ask()).rejects.toThrow('offline');
  fail = false;
  expect(await Promise.all([ask(), ask()])).toEqual(['pivot', 'pivot']);
  expect(await ask()).toBe('pivot');
  expect(opened).toBe(2);
});
