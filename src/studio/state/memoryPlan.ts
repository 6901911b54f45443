/** What the recipe at hand will take on the GPU: planned again whenever the recipe changes while somebody looks. */
import { create } from 'zustand';
import type { MemoryForecast } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';
import { createLatest } from './latest.ts';
import { editRecipe, useProject } from './project.ts';

interface MemoryPlanStore {
  readonly forecast: MemoryForecast | undefined;
  readonly fault: Fault | undefined;
  readonly planning: boolean;
}

const initial: MemoryPlanStore = { forecast: undefined, fault: undefined, planning: false };

export const useMemoryPlan = create<MemoryPlanStore>()(() => initial);

const PAUSE_MS = 250;

const latest = createLatest(
  async () => {
    const { recipe } = useProject.getState();
    return recipe && (await engine().planMemory(recipe));
  },
  (forecast) => useMemoryPlan.setState({ forecast, fault: undefined, planning: false }),
  (error) => useMemoryPlan.setState({ forecast: undefined, fault: toFault(error), planning: false }),
  PAUSE_MS,
);

function plan(): void {
  if (!useProject.getState().recipe) return;
  useMemoryPlan.setState({ planning: true });
  latest.request();
}

/** Keeps the plan up to date; returns the way out. */
export function watchMemoryPlan(): () => void {
  plan();
  const stop = useProject.subscribe(({ recipe }, before) => {
    if (recipe !== before.recipe) plan();
  });
  return () => {
    stop();
    latest.cancel();
  };
}

/** Takes steps over into the recipe. */
export function applySteps(steps: readonly { readonly path: string; readonly value: unknown }[]): void {
  for (const { path, value } of steps) editRecipe(path, value);
}
