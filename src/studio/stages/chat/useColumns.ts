import { useIdentity } from '../../app/useIdentity.ts';
import { useChat } from '../../state/chat.ts';
import type { Identity } from '../../state/identity.ts';
import { useMerge } from '../../state/merge.ts';
import { useProject } from '../../state/project.ts';

export interface ChatColumns {
  /** Names that the engine knows, in the order of the page. */
  readonly columns: readonly string[];
  /** What the source's column can show. */
  readonly sources: readonly string[];
  readonly identify: (name: string) => Identity;
  readonly hasFused: boolean;
}

const none: readonly string[] = [];

/** Pivot, one source, SFT-only if wanted, fused: of the live fusion where there is one, else of the recipe as it stands. */
export function useColumns(): ChatColumns {
  const made = useMerge((state) => (state.view ? state.recipe : undefined));
  const hasFused = useMerge((state) => state.view !== undefined);
  const edited = useProject((state) => state.recipe);
  const chosen = useChat((state) => state.source);
  const showSft = useChat((state) => state.showSft);
  const identify = useIdentity(hasFused ? 'merged' : 'edited');
  const recipe = made ?? edited;
  const sources = recipe?.sources ?? none;
  const source = chosen && sources.includes(chosen) ? chosen : sources[0];
  const columns = [
    // Without a fusion the name says which pivot; with one, `pivot` is the very copy that was fused.
    ...(hasFused ? ['pivot'] : recipe ? [recipe.pivot] : []),
    ...(source ? [source] : []),
    ...(hasFused && showSft ? ['sft'] : []),
    ...(hasFused ? ['fused'] : []),
  ];
  return { columns, sources, identify, hasFused };
}
