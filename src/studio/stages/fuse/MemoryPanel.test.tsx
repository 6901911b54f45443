// @vitest-environment happy-dom
import { afterEach, expect, test } from 'vitest';
import { setEngine } from '../../state/client.ts';
import { useMemoryPlan } from '../../state/memoryPlan.ts';
import { editRecipe, loadProject, useProject } from '../../state/project.ts';
import { createFakeEngine, quickScenario } from '../../testing/fakeEngine.ts';
import { byRole, click, eventually, mount } from '../../testing/mount.tsx';
import { MemoryPanel } from './MemoryPanel.tsx';

let page: Awaited<ReturnType<typeof mount>>;
afterEach(async () => {
  await page.unmount();
  useProject.setState(useProject.getInitialState(), true);
  useMemoryPlan.setState(useMemoryPlan.getInitialState(), true);
});

const text = () => document.body.textContent ?? '';

async function clickWhenThere(name: string): Promise<void> {
  await eventually(() => byRole('button', name));
  await click(byRole('button', name));
}

test('the bar follows the recipe; a limit that is too low offers what fits, in one click', async () => {
  setEngine(createFakeEngine(quickScenario));
  page = await mount(<MemoryPanel />);
  await loadProject();
  await eventually(() => expect(text()).toMatch(/724 MB at its peak, while training/u));
  expect(text()).toMatch(/Weights 62\.0 MB.*Activations 608 MB/u);
  expect(text()).not.toContain('over the limit');

  editRecipe('memory.limit', 5e8);
  await eventually(() => expect(text()).toContain('224 MB over the limit'));
  await clickWhenThere('Make it fit');
  expect(useProject.getState().recipe?.train.recompute).toBe('on');
  await eventually(() => expect(text()).not.toContain('over the limit'));

  await clickWhenThere('Make it smaller');
  await clickWhenThere('Conversations at once: 8');
  expect(useProject.getState().recipe?.train.microBatch).toBe(8);
  await eventually(() => expect(useMemoryPlan.getState().forecast?.peak.bytes).toBeLessThan(2e8));
});

test('a recipe that cannot be planned says why', async () => {
  const engine = createFakeEngine(quickScenario);
  setEngine({
    ...engine,
    planMemory: async () => {
      throw new Error('pivot-1m could not be opened.');
    },
  });
  page = await mount(<MemoryPanel />);
  await loadProject();
  await eventually(() => expect(text()).toContain('pivot-1m could not be opened.'));
  expect(byRole('button', 'Make it smaller').hasAttribute('disabled')).toBe(true);
});
