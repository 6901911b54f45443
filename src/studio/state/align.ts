import { create } from 'zustand';
import type { AlignmentView, Conversation } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { useDevice } from './device.ts';
import { type Fault, toFault } from './fault.ts';
import { useProject } from './project.ts';
import { tokensOnlyView } from './tokensOnlyView.ts';

interface AlignStore {
  readonly source: string | undefined;
  readonly conversation: Conversation | undefined;
  readonly view: AlignmentView | undefined;
  /** Where no model can run: the two cuts of the text, without rows. */
  readonly tokensOnly: boolean;
  readonly loading: boolean;
  readonly fault: Fault | undefined;
}

const initial: AlignStore = {
  source: undefined,
  conversation: undefined,
  view: undefined,
  tokensOnly: false,
  loading: false,
  fault: undefined,
};

export const useAlign = create<AlignStore>()(() => initial);

let asked = 0;

/** Aligns the chosen conversation; an answer that a newer choice has overtaken is dropped. */
export async function alignConversation(source: string, conversation: Conversation): Promise<void> {
  const { recipe } = useProject.getState();
  if (!recipe) return;
  const mine = ++asked;
  useAlign.setState({ source, conversation, loading: true, fault: undefined });
  try {
    const ready = useDevice.getState().device.kind === 'ready';
    const view = ready
      ? await engine().align(recipe.pivot, source, conversation)
      : await tokensOnlyView(recipe.pivot, source, conversation);
    if (mine === asked) useAlign.setState({ view, tokensOnly: !ready, loading: false });
  } catch (error) {
    if (mine === asked) useAlign.setState({ view: undefined, loading: false, fault: toFault(error) });
  }
}
