/** The dots of the stage rail, as a pure function of what the stores hold. */

import type { StageName } from '../../pipeline/protocol.ts';
import type { StageId } from './layout.ts';
import { isActive, type RunStatus } from './run.ts';

export type StageStatus = 'empty' | 'ready' | 'running' | 'paused' | 'stale' | 'done' | 'failed';

export interface StageFacts {
  readonly hasRecipe: boolean;
  readonly deviceReady: boolean;
  readonly runStatus: RunStatus;
  /** What the run is at. */
  readonly current: StageName | undefined;
  /** Whether the run has aligned a source. */
  readonly hasAlignment: boolean;
  readonly aligned: boolean;
  readonly hasReport: boolean;
  readonly hasMerge: boolean;
  /** Dotted paths in which the recipe differs from the run's. */
  readonly changedPaths: readonly string[];
  readonly chatting: boolean;
  readonly hasTurns: boolean;
}

/** Which parts of a recipe a stage's result hangs on. */
const upstream: Readonly<Record<'align' | 'fuse' | 'merge', RegExp>> = {
  align: /^(pivot|sources|precision|data|represent|align|seed)\b/,
  fuse: /^(pivot|sources|precision|data|represent|align|seed|fuse|train|evaluate)\b/,
  merge: /^(pivot|sources|precision|data|represent|align|seed|fuse|train|merge)\b/,
};

/** What changes how a run is done, but none of its numbers. */
const HARMLESS = /^(name$|memory\.|train\.recompute$)/;

/** Whether results of an earlier recipe are of the past where these parts of it have changed. */
export function changesResults(paths: readonly string[]): boolean {
  return paths.some((path) => !HARMLESS.test(path));
}

export function stageStatus(stage: StageId, facts: StageFacts): StageStatus {
  const { runStatus, changedPaths } = facts;
  const active = isActive(runStatus);
  const { current } = facts;
  const moving = runStatus === 'paused' ? 'paused' : 'running';
  const staleFor = (name: 'align' | 'fuse' | 'merge') =>
    changedPaths.some((path) => upstream[name].test(path) && !HARMLESS.test(path));
  switch (stage) {
    case 'models':
      return facts.hasRecipe ? 'done' : 'empty';
    case 'align': {
      if (active && (current === 'represent' || current === 'align')) return moving;
      if (facts.hasAlignment) return staleFor('align') ? 'stale' : 'done';
      return facts.aligned || facts.hasRecipe ? 'ready' : 'empty';
    }
    case 'fuse':
      if (active) return moving;
      if (runStatus === 'failed') return 'failed';
      if (facts.hasReport) return staleFor('fuse') ? 'stale' : 'done';
      return facts.hasRecipe && facts.deviceReady ? 'ready' : 'empty';
    case 'merge':
      if (active && current === 'merge') return moving;
      if (facts.hasMerge) return staleFor('merge') ? 'stale' : 'done';
      return 'empty';
    case 'chat':
      if (facts.chatting) return 'running';
      if (facts.hasTurns) return facts.hasMerge && staleFor('merge') ? 'stale' : 'done';
      return facts.deviceReady && facts.hasRecipe ? 'ready' : 'empty';
  }
}
