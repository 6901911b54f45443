import type { StageName } from '../../pipeline/protocol.ts';

/** How a run's stages are called, at rest and under way. */
export const stageWords: Readonly<Record<StageName, { readonly name: string; readonly doing: string }>> = {
  represent: { name: 'Represent', doing: 'Reading rows of' },
  align: { name: 'Align', doing: 'Aligning' },
  distil: { name: 'Distil', doing: 'Distilling' },
  merge: { name: 'Merge', doing: 'Merging' },
  evaluate: { name: 'Evaluate', doing: 'Evaluating' },
};
