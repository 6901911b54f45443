import { useMemo } from 'react';
import { type Identity, identityOf } from '../state/identity.ts';
import { useMerge } from '../state/merge.ts';
import { titlesOf, useProject } from '../state/project.ts';
import { useRun } from '../state/run.ts';

const nobody = { pivot: '', sources: [] };

/**
 * Names models after the recipe as it is edited, or after the one that the last run used or that the live fused model
 * was made by: curves, reports and grids keep their colours when the sources change afterwards.
 */
export function useIdentity(which: 'edited' | 'ran' | 'merged' = 'edited'): (name: string) => Identity {
  const models = useProject((state) => state.models);
  const edited = useProject((state) => state.recipe);
  const ran = useRun((state) => state.recipe);
  const merged = useMerge((state) => state.recipe);
  const recipe = { edited, ran, merged }[which] ?? edited ?? nobody;
  return useMemo(() => {
    const titles = titlesOf(models);
    return (name: string) => identityOf(name, recipe, titles);
  }, [models, recipe]);
}
