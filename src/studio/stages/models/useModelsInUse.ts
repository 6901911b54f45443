import { useProject } from '../../state/project.ts';
import { isActive, useRun } from '../../state/run.ts';

const NONE: readonly string[] = [];

/** Models that a run under way reads: they stay until it ends. */
export function useModelsInUse(): readonly string[] {
  const running = useRun((state) => isActive(state.status));
  const ran = useRun((state) => state.recipe);
  const edited = useProject((state) => state.recipe);
  const recipe = ran ?? edited;
  return running && recipe ? [recipe.pivot, ...recipe.sources] : NONE;
}
