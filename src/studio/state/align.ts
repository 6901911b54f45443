import { create } from 'zustand';
import type { AlignmentView, Conversation } from '../../pipeline/protocol.ts';
import type { Recipe } from '../../pipeline/recipe.ts';
import { engine } from './client.ts';
import { useDevice } from './device.ts';
import { type Fault, toFault } from './fault.ts';
import { useProject } from './project.ts';
import { tellingConversation } from './tellingConversation.ts';
import { tokensOnlyView } from './tokensOnlyView.ts';

interface AlignStore {
  readonly source: string | undefined;
  readonly conversation: Conversation | undefined;
  /** What is shown until somebody chooses. */
  readonly suggested: Conversation | undefined;
  readonly view: AlignmentView | undefined;
  /** Where no model can run: the two cuts of the text, without rows. */
  readonly tokensOnly: boolean;
  readonly loading: boolean;
  readonly fault: Fault | undefined;
}

const initial: AlignStore = {
  source: undefined,
  conversation: undefined,
  suggested: undefined,
  view: undefined,
  tokensOnly: false,
  loading: false,
  fault: undefined,
};

export const useAlign = create<AlignStore>()(() => initial);

let asked = 0;
/** What the view in the store, or the one on its way, was made of. */
let made: readonly unknown[] = [];

export function chooseSource(source: string): void {
  useAlign.setState({ source });
}

export function chooseConversation(conversation: Conversation): void {
  useAlign.setState({ conversation });
}

/** What of a recipe the alignment of a conversation hangs on. */
export function alignSettings({ pivot, align, fuse }: Recipe): string {
  return JSON.stringify([pivot, align.minimumMass, fuse.loss, fuse.choice]);
}

/** Looks for a conversation to begin with; the store keeps the first that was found. */
export async function suggestConversation(source: string): Promise<void> {
  const { recipe, train } = useProject.getState();
  if (!recipe || useAlign.getState().suggested) return;
  const suggested = await tellingConversation(recipe.pivot, source, train);
  useAlign.setState((state) => ({ suggested: state.suggested ?? suggested }));
}

/**
 * Aligns a conversation, unless the store has just that already; an answer that a newer choice has overtaken is dropped.
 * @param again asks anew after a failure
 */
export async function alignConversation(
  source: string,
  conversation: Conversation,
  again = false,
): Promise<void> {
  const { recipe } = useProject.getState();
  const { device } = useDevice.getState();
  if (!recipe || device.kind === 'opening') return;
  const ready = device.kind === 'ready';
  const parts = [alignSettings(recipe), source, conversation, ready ? device.report : device.kind];
  if (!again && parts.every((part, index) => part === made[index])) return;
  made = parts;
  const mine = ++asked;
  useAlign.setState({ source, loading: true, fault: undefined });
  try {
    const view = ready
      ? await engine().align(recipe, source, conversation)
      : await tokensOnlyView(recipe.pivot, source, conversation);
    if (mine === asked) useAlign.setState({ view, tokensOnly: !ready, loading: false });
  } catch (error) {
    if (mine === asked) useAlign.setState({ view: undefined, loading: false, fault: toFault(error) });
  }
}
