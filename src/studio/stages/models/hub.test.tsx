// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Engine } from '../../../pipeline/protocol.ts';
import { AlloyError } from '../../../util/errors.ts';
import { setEngine } from '../../state/client.ts';
import { refreshShelf, useHub } from '../../state/hub.ts';
import { changeHubSettings, useHubSettings } from '../../state/hubSettings.ts';
import { assign, loadProject, useProject } from '../../state/project.ts';
import { useRun } from '../../state/run.ts';
import { createFakeEngine } from '../../testing/fakeEngine.ts';
import { byRole, click, eventually, mount, settle } from '../../testing/mount.tsx';
import { ModelsStage } from './ModelsStage.tsx';

let page: Awaited<ReturnType<typeof mount>>;
let engine: Engine;

async function open(change: (engine: Engine) => Partial<Engine> = () => ({})) {
  const double = createFakeEngine();
  engine = { ...double, ...change(double) };
  setEngine(engine);
  page = await mount(<ModelsStage />);
  await Promise.all([loadProject(), refreshShelf()]);
  await settle();
}

beforeEach(() => {
  localStorage.clear();
  for (const store of [useHub, useHubSettings, useProject]) {
    const { setState, getInitialState } = store as unknown as {
      setState: (state: unknown, replace: true) => void;
      getInitialState: () => unknown;
    };
    setState(getInitialState(), true);
  }
});
afterEach(() => page.unmount());

const text = () => document.body.textContent ?? '';

async function ask(id: string): Promise<void> {
  const field = byRole('textbox', 'Model id or address') as HTMLInputElement;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')?.set?.call(field, id);
  field.dispatchEvent(new Event('input', { bubbles: true }));
  await settle();
  await click(byRole('button', 'Look up'));
}

test('a model is looked up, downloaded, given a part, checked and deleted', async () => {
  await open();
  await ask('harbour/Skiff-135M-Instruct-GGUF');
  await eventually(() => expect(text()).toContain('recommended'));
  expect(document.querySelectorAll('input[type="radio"][name="hub-form"]')).toHaveLength(5);
  await click(byRole('button', 'Download 145 MB'));
  await eventually(() => expect(useProject.getState().models).toHaveLength(5));
  const name = useProject.getState().models[4]?.name ?? '';
  assign(name, 'pivot');
  expect(useProject.getState().recipe?.pivot).toBe(name);
  expect(document.querySelector('article[aria-label="Skiff-135M-Instruct Q8_0"]')).toBeTruthy();
  await click(byRole('button', 'Check files'));
  await eventually(() => expect(text()).toContain('every file has its hash'));
  await click(byRole('button', /^Delete harbour/));
  expect(document.activeElement?.textContent).toBe('Keep');
  await click(byRole('button', 'Keep'));
  expect(document.activeElement).toBe(byRole('button', /^Delete harbour/));
  useRun.setState({ status: 'running', recipe: useProject.getState().recipe });
  await settle();
  expect(byRole('button', /^Delete harbour/)).toHaveProperty('disabled', true);
  useRun.setState({ status: 'idle', recipe: undefined });
  await settle();
  await click(byRole('button', /^Delete harbour/));
  await click(byRole('button', 'Delete 145 MB'));
  await eventually(() => expect(useProject.getState().models).toHaveLength(4));
  expect(useProject.getState().recipe?.pivot).toBe('pivot-1m');
  expect(text()).not.toContain('Downloaded models');
});

test('a gated model asks for a token, which is kept only where that is wanted', async () => {
  const given: unknown[] = [];
  await open((double) => ({
    async hubLook(wanted) {
      return { ...(await double.hubLook(wanted)), freeBytes: null };
    },
    hubList: async () => ({ models: [], freeBytes: null }),
    async hubGet() {
      throw new AlloyError('no-access', 'harbour/Barge-2B is gated (401): accept its terms.');
    },
    async hubSettings(settings) {
      given.push(settings);
    },
  }));
  await ask('harbour/Barge-2B');
  await eventually(() => expect(text()).toContain('Gated: accept its terms on'));
  await click(byRole('button', /^Download/));
  await eventually(() => expect(text()).toContain('is gated (401)'));
  await click(byRole('button', 'Give a token'));
  expect(document.querySelector('form[aria-label="Token and mirrors"]')).toBeTruthy();
  await changeHubSettings({ token: 'hf_secret' });
  expect(given).toEqual([{ endpoints: [], token: 'hf_secret' }]);
  expect(JSON.stringify({ ...localStorage })).not.toContain('hf_secret');
  await changeHubSettings({ keepToken: true });
  expect(localStorage.getItem('alloy-hub')).toContain('hf_secret');
  await changeHubSettings({ token: '', keepToken: false });
  expect(localStorage.getItem('alloy-hub')).toBeNull();
});

test('where the space is used up, the models that could go are named and deleted there', async () => {
  let full = true;
  await open((double) => ({
    hubGet: (reference, onEvent) =>
      full
        ? Promise.reject(new AlloyError('disk-full', 'There is no space.'))
        : double.hubGet(reference, onEvent),
  }));
  full = false;
  await ask('harbour/Skiff-135M-Instruct');
  await eventually(() => expect(text()).toContain('BF16'));
  await click(byRole('button', 'Download 271 MB'));
  await eventually(() => expect(useProject.getState().models).toHaveLength(5));
  full = true;
  await ask('harbour/Skiff-135M-Instruct-GGUF');
  await eventually(() => expect(text()).toContain('Q4_K_M'));
  await click(byRole('button', 'Download 145 MB'));
  await eventually(() => expect(text()).toContain('does not fit into the space'));
  const alert = document.querySelector('[role="alert"]');
  expect(alert?.textContent).toMatch(/harbour\/Skiff-135M-Instruct · BF16271 MB · last used/u);
  await click(byRole('button', 'Delete harbour/Skiff-135M-Instruct · BF16', alert ?? document));
  await eventually(() => expect(useProject.getState().models).toHaveLength(4));
  full = false;
  await click(byRole('button', 'Go on', alert ?? document));
  await eventually(() => expect(useProject.getState().models).toHaveLength(5));
  expect(document.querySelector('[role="alert"]')).toBeNull();
});

test('what the hub refuses is said in its words', async () => {
  await open();
  await ask('harbour/none');
  await eventually(() => expect(text()).toContain('There is no model harbour/none'));
  expect(byRole('button', 'Try again')).toBeTruthy();
});

test('what is no model’s id is not tried again', async () => {
  await open(() => ({
    async hubLook() {
      throw new AlloyError('bad-argument', '"a b" cannot be looked up on the hub: that is no model\'s id.');
    },
  }));
  await ask('a b');
  await eventually(() => expect(text()).toContain('cannot be looked up'));
  expect(() => byRole('button', 'Try again')).toThrow();
});
