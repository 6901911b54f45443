// @vitest-environment happy-dom
import { afterEach, expect, test } from 'vitest';
import { useAlign } from '../state/align.ts';
import { clearChat, useChat } from '../state/chat.ts';
import { setEngine } from '../state/client.ts';
import { openDevice, useDevice } from '../state/device.ts';
import { type StageId, showStage, useLayout } from '../state/layout.ts';
import { useMerge } from '../state/merge.ts';
import { useNotices } from '../state/notices.ts';
import { editRecipe, loadProject, useProject } from '../state/project.ts';
import { useRun } from '../state/run.ts';
import { createFakeEngine, quickScenario, type Scenario } from '../testing/fakeEngine.ts';
import { byRole, click, eventually, mount, settle } from '../testing/mount.tsx';
import { App } from './App.tsx';

let page: Awaited<ReturnType<typeof mount>>;

async function open(scenario: Partial<Scenario> = {}) {
  for (const store of [useAlign, useChat, useDevice, useLayout, useMerge, useNotices, useProject, useRun]) {
    const resettable = store as {
      setState: (state: unknown, replace: true) => void;
      getInitialState: () => unknown;
    };
    resettable.setState(resettable.getInitialState(), true);
  }
  clearChat();
  location.hash = '';
  setEngine(createFakeEngine({ ...quickScenario, ...scenario }));
  page = await mount(<App />);
  await Promise.all([openDevice(), loadProject()]);
  await settle();
}

const go = async (stage: StageId) => {
  showStage(stage);
  await settle();
};
const text = () => document.body.textContent ?? '';

afterEach(() => page.unmount());

test('one press runs the sample, through to a report that hides nothing', async () => {
  await open();
  editRecipe('train.steps', 4);
  await click(byRole('button', 'Run the sample'));
  expect(useLayout.getState().stage).toBe('fuse');
  await eventually(() => expect(text()).toMatch(/Fused is better than SFT-only in \d of 5 suites/));
  expect(text()).toContain('Too few to tell in calendar.');
  for (const suite of useRun.getState().report?.suites ?? []) expect(text()).toContain(suite.suite);
  expect(document.querySelectorAll('tbody tr')).toHaveLength(11);
  expect(byRole('button', /Run again/)).toBeTruthy();
  editRecipe('fuse.lambda', 0.8);
  await settle();
  expect(byRole('button', 'Restart with 1 change')).toBeTruthy();
});

test('every stage can be entered first, and says what is missing', async () => {
  await open();
  await go('merge');
  expect(text()).toContain('Nothing to merge yet');
  await go('fuse');
  expect(text()).toContain('Not started');
  await go('align');
  await eventually(() => expect(text()).toContain('Positions with a row'));
  await go('chat');
  expect(byRole('button', 'Run the sample')).toBeTruthy();
  expect(byRole('button', 'Ask').hasAttribute('disabled')).toBe(true);
});

test('without a device the page says so on every stage, and the tokens can still be seen', async () => {
  await open({ device: 'none' });
  for (const stage of ['models', 'fuse', 'merge', 'chat'] as const) {
    await go(stage);
    expect(text()).toContain('Nothing here can compute: this browser has no WebGPU');
  }
  await go('models');
  expect(byRole('button', 'Run the sample').hasAttribute('disabled')).toBe(true);
  await go('align');
  await eventually(() => expect(text()).toContain('Without a device the models cannot run'));
});

test('without WebGPU the processor computes, and the page says so; a choice is kept', async () => {
  localStorage.clear();
  await open({ device: 'processor' });
  expect(text()).toContain('Computes on the processor (WebAssembly, 2 threads): this browser has no WebGPU.');
  expect(byRole('button', 'Run the sample').hasAttribute('disabled')).toBe(false);
  await click(byRole('button', /^Device: The processor/));
  await eventually(() => expect(byRole('menuitemradio', /^GPU/).hasAttribute('disabled')).toBe(true));
  expect(text()).toContain('Not here: this browser has no WebGPU');
  expect(byRole('menuitemradio', /^Automatic/).getAttribute('aria-checked')).toBe('true');
  await click(byRole('menuitemradio', /^Processor/));
  await eventually(() => expect(text()).toContain('chosen by hand'));
  expect(localStorage.getItem('alloy-device')).toBe('{"version":1,"choice":"wasm"}');
  useDevice.setState({ choice: 'auto' });
  localStorage.clear();
});

test('the device stays while a fusion is running', async () => {
  await open();
  await click(byRole('button', 'Run the sample'));
  await click(byRole('button', /^Device: Test double/));
  await eventually(() => expect(text()).toContain('While a fusion is running the device stays'));
  expect(byRole('menuitemradio', /^Processor/).hasAttribute('disabled')).toBe(true);
  await eventually(() => expect(useRun.getState().status).toBe('done'));
});

test('a lost device is named, and can be opened again', async () => {
  await open({ device: 'lost' });
  await eventually(() => expect(text()).toContain('The GPU was lost'));
  expect(text()).toContain('the driver was reset');
  setEngine(createFakeEngine());
  await click(byRole('button', 'Open it again'));
  await eventually(() => expect(text()).not.toContain('The GPU was lost'));
});

test('what a model writes is text, never markup', async () => {
  await open();
  await go('chat');
  await click(byRole('button', /even number/));
  await eventually(() => expect(useChat.getState().busy).toBe(false));
  const answers = [...document.querySelectorAll('article')].map((article) => article.textContent ?? '');
  expect(answers.some((answer) => answer.includes('<b>Take</b>'))).toBe(true);
  expect(document.querySelector('article b')).toBeNull();
});

test('an error stays until it is dismissed', async () => {
  await open({ failing: 'fuse' });
  await go('fuse');
  await click(byRole('button', 'Start'));
  await eventually(() => expect(text()).toContain('The fusion stopped'));
  await go('models');
  expect(text()).toContain('The fusion stopped');
  await click(byRole('button', 'Dismiss: The fusion stopped'));
  expect(text()).not.toContain('The fusion stopped');
});
