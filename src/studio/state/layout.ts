import { create } from 'zustand';

export const stageIds = ['models', 'align', 'fuse', 'merge', 'chat'] as const;
export type StageId = (typeof stageIds)[number];

/** The one thing that the inspector shows; each stage knows its own kind. */
export type Focus =
  | { readonly kind: 'token'; readonly lane: 'pivot' | 'source'; readonly index: number }
  | { readonly kind: 'cell'; readonly layer: number; readonly matrix: string; readonly source: number }
  | { readonly kind: 'conflict'; readonly layer: number; readonly matrix: string }
  | { readonly kind: 'model'; readonly name: string }
  | { readonly kind: 'answer'; readonly column: string; readonly turn: number; readonly token: number };

interface LayoutStore {
  readonly stage: StageId;
  readonly inspectorOpen: boolean;
  /** On narrow windows the inspector is a sheet, and this says whether it is up. */
  readonly sheetOpen: boolean;
  readonly focus: Focus | undefined;
  /** The pinned model that other numbers are compared with: a row's key in the report, or a role for its first row. */
  readonly baseline: string;
}

const preferencesKey = 'alloy-layout';
const preferencesVersion = 1;

export const useLayout = create<LayoutStore>()(() => ({
  stage: stageFromHash(globalThis.location?.hash ?? ''),
  sheetOpen: false,
  focus: undefined,
  ...storedPreferences(),
}));

/** `#/align` → `align`; anything else is the first stage. */
export function stageFromHash(hash: string): StageId {
  const name = hash.replace(/^#\/?/, '').split(/[?/]/)[0];
  return stageIds.find((id) => id === name) ?? 'models';
}

export function showStage(stage: StageId): void {
  useLayout.setState({ stage, focus: undefined, sheetOpen: false });
  if (stageFromHash(location.hash) !== stage || location.hash === '') location.hash = `#/${stage}`;
}

/** Follows the browser's back and forward; returns the way out. */
export function followHash(): () => void {
  const follow = () => {
    const stage = stageFromHash(location.hash);
    if (stage !== useLayout.getState().stage)
      useLayout.setState({ stage, focus: undefined, sheetOpen: false });
  };
  window.addEventListener('hashchange', follow);
  return () => window.removeEventListener('hashchange', follow);
}

export function setFocus(focus: Focus | undefined): void {
  useLayout.setState({ focus });
}

/** Shows a thing in the inspector and raises the sheet where the inspector is one. */
export function inspect(focus: Focus): void {
  useLayout.setState({ focus, sheetOpen: true });
}

export function setSheet(sheetOpen: boolean): void {
  useLayout.setState({ sheetOpen });
}

export function toggleInspector(): void {
  useLayout.setState(({ inspectorOpen }) => ({ inspectorOpen: !inspectorOpen }));
  storePreferences();
}

export function setBaseline(baseline: string): void {
  useLayout.setState({ baseline });
  storePreferences();
}

type Preferences = Pick<LayoutStore, 'inspectorOpen' | 'baseline'>;

function storedPreferences(): Preferences {
  const fallback: Preferences = { inspectorOpen: true, baseline: 'sft' };
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(preferencesKey) ?? 'null');
    if (typeof stored !== 'object' || stored === null) return fallback;
    if (!('version' in stored) || stored.version !== preferencesVersion) return fallback;
    return {
      inspectorOpen: !('inspectorOpen' in stored) || stored.inspectorOpen !== false,
      baseline: 'baseline' in stored && typeof stored.baseline === 'string' ? stored.baseline : 'sft',
    };
  } catch {
    return fallback;
  }
}

function storePreferences(): void {
  const { inspectorOpen, baseline } = useLayout.getState();
  try {
    localStorage.setItem(
      preferencesKey,
      JSON.stringify({ version: preferencesVersion, inspectorOpen, baseline }),
    );
  } catch {
    // Private windows may refuse; the preference then lasts as long as the page.
  }
}
