import { expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { MemoryStorage } from '../storage/memoryStorage.ts';
import { writeFile } from '../storage/storageHelpers.ts';
import { ArtifactStore } from './artifactStore.ts';
import { JobControl } from './jobControl.ts';
import { loadModel, openFolder } from './openModel.ts';
import type { Conversation } from './protocol.ts';
import { represent } from './represent.ts';
import { tinyHost } from './testing.ts';

const messages = [
  { role: 'user', content: 'name one like the otter' },
  { role: 'assistant', content: 'an otter swims' },
] as const;

test('rows are kept; an answer that was cut has no end to train; damaged rows are made again', async () => {
  const device = await testDevice();
  const host = tinyHost(async () => device);
  const folder = 'public/models/pivot';
  const model = await openFolder('pivot', folder, (file) => host.openFile(`${folder}/${file}`));
  const storage = new MemoryStorage();
  let loads = 0;
  const context = {
    device,
    store: new ArtifactStore(storage),
    control: new JobControl(),
    openModel: () => Promise.reject(new Error('no other model is opened')),
    readText: () => Promise.reject(new Error('no data is read')),
    onEvent: () => undefined,
  };
  const load = () => {
    loads++;
    return loadModel(device, model);
  };
  const conversations: Conversation[] = ['a', 'a-trim'].map((id) => ({ id, messages: [...messages] }));
  const options = { topK: 3, maxTokens: 96 };
  const [whole, cut] = await represent(context, model, load, conversations, options, 'pivot');
  expect([...cut!.tokens]).toEqual([...whole!.tokens]);
  const last = whole!.scored.lastIndexOf(1);
  expect(model.text.tokenizer.tokenText(whole!.tokens[last + 1]!)).toBe('<|im_end|>');
  expect([...cut!.scored]).toEqual([...whole!.scored].map((flag, row) => (row === last ? 0 : flag)));
  const again = await represent(context, model, load, conversations, options, 'pivot');
  expect(again).toEqual([whole, cut]);
  expect(loads).toBe(1);
  const [artifact] = await storage.list('artifacts/represent');
  await writeFile(storage, artifact!.path, 'damaged');
  expect(await represent(context, model, load, conversations, options, 'pivot')).toEqual([whole, cut]);
  expect(loads).toBe(2);
});
