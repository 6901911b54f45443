import { type Endpoint, expose, proxy, wrap } from 'comlink';
import { expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { crossing } from './crossing.ts';
import type { Engine, NextToken, RunEvent } from './protocol.ts';
import { carryErrorCodes } from './wireErrors.ts';

function across(engine: Partial<Engine>) {
  carryErrorCodes();
  const { port1, port2 } = new MessageChannel();
  expose(crossing(engine as Engine), port1 as Endpoint);
  const close = () => port1.close();
  return { remote: wrap<Engine>(port2 as Endpoint), close };
}

test('errors keep their code, name and message; others their message', async () => {
  const { remote, close } = across({
    open: async () => {
      throw new AlloyError('no-webgpu', 'There is no adapter.');
    },
    memory: () => {
      throw new TypeError('odd');
    },
  });
  await expect(remote.open()).rejects.toMatchObject({
    name: 'AlloyError',
    code: 'no-webgpu',
    message: 'There is no adapter.',
  });
  await expect(remote.memory()).rejects.toMatchObject({ name: 'TypeError', message: 'odd' });
  close();
});

test('a call ends when its last event has arrived', async () => {
  const event = (done: number): RunEvent => ({
    kind: 'progress',
    stage: 'align',
    label: '',
    done,
    total: 50,
    secondsLeft: undefined,
  });
  const { remote, close } = across({
    async fuse(_recipe, onEvent) {
      for (let done = 1; done <= 50; done++) onEvent(event(done));
      return 'done';
    },
    nextTokens: async (): Promise<readonly NextToken[]> => [{ text: ' a', probability: 0.5 }],
  });
  const taken: RunEvent[] = [];
  const take = proxy((one: RunEvent) => {
    taken.push(one);
    if (taken.length === 7) throw new Error('the page stumbles');
  });
  expect(await remote.fuse({} as never, take)).toBe('done');
  expect(taken).toHaveLength(50);
  expect(await remote.nextTokens('fused', [], 1)).toEqual([{ text: ' a', probability: 0.5 }]);
  close();
});
