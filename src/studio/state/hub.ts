import { create } from 'zustand';
import type { HeldModel } from '../../pipeline/hubModels.ts';
import type { HubForm, HubModelInfo } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';
import { notifyFault } from './notices.ts';
import { forgetModel, reloadModels } from './project.ts';

export type LookState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'looking'; readonly text: string }
  | { readonly kind: 'found'; readonly info: HubModelInfo; readonly chosen: string | undefined }
  | { readonly kind: 'failed'; readonly text: string; readonly fault: Fault };

/** A download under way. */
export interface DownloadState {
  readonly reference: string;
  readonly title: string;
  readonly done: number;
  readonly total: number;
  readonly bytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
  /** What it waits for. */
  readonly note: string | undefined;
  readonly pausing: boolean;
}

interface HubStore {
  readonly look: LookState;
  readonly download: DownloadState | undefined;
  /** The last download that did not come to its end, and why. */
  readonly failed: { readonly reference: string; readonly title: string; readonly fault: Fault } | undefined;
  readonly models: readonly HeldModel[];
  readonly freeBytes: number | null;
  /** References of models whose files are being checked. */
  readonly checking: readonly string[];
  /** What the last check of a model found. */
  readonly checked: Readonly<Record<string, 'right' | 'damaged'>>;
}

export const useHub = create<HubStore>()(() => ({
  look: { kind: 'idle' },
  download: undefined,
  failed: undefined,
  models: [],
  freeBytes: null,
  checking: [],
  checked: {},
}));

/** Asks the hub about a model by its id or address. */
export async function lookUp(text: string): Promise<void> {
  const wanted = text.trim();
  if (wanted === '') return;
  const look: LookState = { kind: 'looking', text: wanted };
  useHub.setState({ look, failed: undefined });
  const end = (next: LookState) => {
    // The person may have asked for something else since.
    if (useHub.getState().look === look) useHub.setState({ look: next });
  };
  try {
    const info = await engine().hubLook(wanted);
    const chosen = info.forms.find((form) => form.chosen) ?? info.forms[0];
    end({ kind: 'found', info, chosen: chosen?.reference });
  } catch (error) {
    end({ kind: 'failed', text: wanted, fault: toFault(error) });
  }
}

export function chooseForm(reference: string): void {
  useHub.setState(({ look }) => (look.kind === 'found' ? { look: { ...look, chosen: reference } } : {}));
}

export function closeLook(): void {
  useHub.setState({ look: { kind: 'idle' } });
}

/** What a form of a model is called in a list. */
export function formTitle(id: string, { label }: Pick<HubForm, 'label'>): string {
  return `${id} · ${label}`;
}

/** Downloads a model, or goes on with one that was paused. */
export async function startDownload(reference: string, title: string, total: number): Promise<void> {
  if (useHub.getState().download) return;
  const begun: DownloadState = {
    reference,
    title,
    done: 0,
    total,
    bytesPerSecond: undefined,
    secondsLeft: undefined,
    note: undefined,
    pausing: false,
  };
  useHub.setState({ download: begun, failed: undefined });
  keepStorage();
  try {
    await engine().hubGet(reference, (event) => {
      useHub.setState(({ download }) => {
        if (!download) return {};
        if (event.kind === 'note') return { download: { ...download, note: event.text } };
        const { done, total: all, bytesPerSecond, secondsLeft } = event;
        return { download: { ...download, done, total: all, bytesPerSecond, secondsLeft, note: undefined } };
      });
    });
    useHub.setState(({ look }) => ({ look: look.kind === 'found' ? markHere(look, reference) : look }));
    await reloadModels();
  } catch (error) {
    const fault = toFault(error);
    if (fault.code !== 'cancelled') useHub.setState({ failed: { reference, title, fault } });
  } finally {
    useHub.setState({ download: undefined });
    await refreshShelf();
  }
}

function markHere(look: Extract<LookState, { kind: 'found' }>, reference: string): LookState {
  const forms = look.info.forms.map((form) =>
    form.reference === reference ? { ...form, here: true } : form,
  );
  return { ...look, info: { ...look.info, forms } };
}

/** Stops the download; what came is kept. */
export function pauseDownload(): void {
  useHub.setState(({ download }) => (download ? { download: { ...download, pausing: true } } : {}));
  engine()
    .hubStop()
    .catch((error: unknown) => notifyFault('The download could not be paused', error));
}

/** Reads which models are here and how much space is left. */
export async function refreshShelf(): Promise<void> {
  try {
    const { models, freeBytes } = await engine().hubList();
    useHub.setState({ models, freeBytes });
  } catch (error) {
    notifyFault('The downloaded models could not be listed', error);
  }
}

export async function removeModel(reference: string): Promise<void> {
  try {
    await engine().hubRemove(reference);
    forgetModel(reference);
    useHub.setState(({ look, failed }) => ({
      ...(look.kind === 'found' && { look: markGone(look, reference) }),
      ...(failed?.reference === reference && { failed: undefined }),
    }));
    await reloadModels();
  } catch (error) {
    notifyFault('The model could not be deleted', error);
  }
  await refreshShelf();
}

function markGone(look: Extract<LookState, { kind: 'found' }>, reference: string): LookState {
  const forms = look.info.forms.map((form) =>
    form.reference === reference ? { ...form, here: false } : form,
  );
  return { ...look, info: { ...look.info, forms } };
}

/** Reads every file of a model again and compares its hash. */
export async function verifyModel(reference: string): Promise<void> {
  useHub.setState(({ checking }) => ({ checking: [...checking, reference] }));
  try {
    const damaged = await engine().hubVerify(reference);
    useHub.setState(({ checked }) => ({
      checked: { ...checked, [reference]: damaged.length > 0 ? 'damaged' : 'right' },
    }));
    if (damaged.length > 0) await refreshShelf();
  } catch (error) {
    notifyFault('The files could not be checked', error);
  } finally {
    useHub.setState(({ checking }) => ({ checking: checking.filter((one) => one !== reference) }));
  }
}

/** Asks the browser not to clear the site's storage by itself when space gets scarce. */
function keepStorage(): void {
  navigator.storage?.persist?.().catch(() => undefined);
}
