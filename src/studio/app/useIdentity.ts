import { useMemo } from 'react';
import { type Identity, identityOf } from '../state/identity.ts';
import { titlesOf, useProject } from '../state/project.ts';
import { useRun } from '../state/run.ts';

const nobody = { pivot: '', sources: [] };

/**
 * Names models after the recipe as it is edited, or with `ran` after the one the last run used (its curves and its
 * report keep their colours when the sources change afterwards).
 */
export function useIdentity(which: 'edited' | 'ran' = 'edited'): (name: string) => Identity {
  const models = useProject((state) => state.models);
  const edited = useProject((state) => state.recipe);
  const ran = useRun((state) => state.recipe);
  const recipe = (which === 'ran' ? ran : undefined) ?? edited ?? nobody;
  return useMemo(() => {
    const titles = titlesOf(models);
    return (name: string) => identityOf(name, recipe, titles);
  }, [models, recipe]);
}
