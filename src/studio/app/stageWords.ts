import type { StageName } from '../../pipeline/protocol.ts';
import type { Identity } from '../state/identity.ts';

/** How a run's stages are called, at rest and under way. */
export const stageWords: Readonly<Record<StageName, { readonly name: string; readonly doing: string }>> = {
  represent: { name: 'Represent', doing: 'Reading rows of' },
  align: { name: 'Align', doing: 'Aligning' },
  distil: { name: 'Distil', doing: 'Distilling' },
  merge: { name: 'Merge', doing: 'Merging' },
  evaluate: { name: 'Evaluate', doing: 'Evaluating' },
};

/** A task is labelled by the model it is about; a model that the recipe names is shown by its title. */
export function taskLabel(label: string, identify: (name: string) => Identity): string {
  return label === 'sce' ? 'SCE' : identify(label).label;
}
