import { beforeEach, expect, test } from 'vitest';
import { AlloyError } from '../../util/errors.ts';
import { toFault } from './fault.ts';
import { stageFromHash } from './layout.ts';
import { dismissNotice, notify, notifyFault, useNotices } from './notices.ts';

beforeEach(() => useNotices.setState({ notices: [] }));

test('reads errors of both sides of the worker', () => {
  expect(toFault(new AlloyError('disk-full', 'No room.'))).toEqual({
    code: 'disk-full',
    message: 'No room.',
  });
  expect(toFault({ name: 'AlloyError', code: 'no-webgpu', message: 'No GPU.' })).toEqual({
    code: 'no-webgpu',
    message: 'No GPU.',
  });
  // What stops a run on purpose is no accident: it has a sentence of its own and no stack.
  expect(toFault(new AlloyError('not-finite', 'Step 3: the loss is not finite.'))).toEqual({
    code: 'not-finite',
    message: 'Step 3: the loss is not finite.',
  });
  expect(toFault({ code: 'made-up', message: 'x' }).code).toBe('internal');
  expect(toFault(new TypeError('boom'))).toMatchObject({ code: 'internal', message: 'boom' });
  expect(toFault('plain')).toEqual({ code: 'internal', message: 'plain' });
});

test('notices stay until dismissed, are not repeated, and keep quiet about what was cancelled', () => {
  notifyFault('A', new AlloyError('bad-data', 'Line 3 of a.jsonl does not parse.'));
  notifyFault('A', new AlloyError('bad-data', 'Line 3 of a.jsonl does not parse.'));
  notifyFault('B', new AlloyError('cancelled', 'Stopped.'));
  notify({ kind: 'info', title: 'C', message: 'c' });
  const { notices } = useNotices.getState();
  expect(notices.map(({ title }) => title)).toEqual(['A', 'C']);
  dismissNotice(notices[0]!.id);
  expect(useNotices.getState().notices.map(({ title }) => title)).toEqual(['C']);
});

test('the address names the stage; what it does not know is the first one', () => {
  expect(stageFromHash('#/merge')).toBe('merge');
  expect(stageFromHash('#/chat?m=a,b')).toBe('chat');
  expect(stageFromHash('#/<script>')).toBe('models');
  expect(stageFromHash('')).toBe('models');
});
