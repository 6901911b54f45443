import { useMemo } from 'react';
import { useAlign } from '../state/align.ts';
import { useChat } from '../state/chat.ts';
import { selectReady, useDevice } from '../state/device.ts';
import { useMerge } from '../state/merge.ts';
import { useProject } from '../state/project.ts';
import { recipeChanges } from '../state/recipeChanges.ts';
import { selectCurrentStage, useRun } from '../state/run.ts';
import { type StageFacts, type StageStatus, stageStatus } from '../state/stageStatus.ts';
import { stages } from './stages.ts';

/** What differs between the recipe as edited and the one the run was started with. */
export function useChanges() {
  const recipe = useProject((state) => state.recipe);
  const ran = useRun((state) => state.recipe);
  return useMemo(() => (recipe && ran ? recipeChanges(ran, recipe) : []), [recipe, ran]);
}

export function useStageStatuses(): Readonly<Record<string, StageStatus>> {
  const changes = useChanges();
  const facts: StageFacts = {
    hasRecipe: useProject((state) => state.recipe !== undefined),
    deviceReady: useDevice(selectReady),
    runStatus: useRun((state) => state.status),
    current: useRun(selectCurrentStage),
    hasAlignment: useRun((state) => Object.keys(state.summaries).length > 0),
    aligned: useAlign((state) => state.view !== undefined),
    hasReport: useRun((state) => state.report !== undefined),
    hasMerge: useMerge((state) => state.view !== undefined),
    changedPaths: changes.map((change) => change.path),
    chatting: useChat((state) => state.busy),
    hasTurns: useChat((state) => state.turns.length > 0),
  };
  return Object.fromEntries(stages.map(({ id }) => [id, stageStatus(id, facts)]));
}
