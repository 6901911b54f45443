import type { StageId } from '../state/layout.ts';
import type { StageStatus } from '../state/stageStatus.ts';
import type { IconName } from '../views/Icon.tsx';

interface StageEntry {
  readonly id: StageId;
  readonly title: string;
  readonly icon: IconName;
}

/** In the order of the data's way; the rail shows them all, and each can be entered at any time. */
export const stages: readonly StageEntry[] = [
  { id: 'models', title: 'Models', icon: 'models' },
  { id: 'align', title: 'Align', icon: 'align' },
  { id: 'fuse', title: 'Fuse', icon: 'fuse' },
  { id: 'merge', title: 'Merge', icon: 'merge' },
  { id: 'chat', title: 'Chat', icon: 'chat' },
];

const statusWords: Readonly<Record<StageStatus, string>> = {
  empty: 'nothing yet',
  ready: 'ready',
  running: 'running',
  paused: 'paused',
  stale: 'out of date',
  done: 'done',
  failed: 'failed',
};

export function statusWord(id: StageId, status: StageStatus): string {
  return id === 'models' && status === 'done' ? 'chosen' : statusWords[status];
}
