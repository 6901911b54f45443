import { create } from 'zustand';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';

/** Where models come from, and as whom. */
export interface HubSettingsState {
  /** Addresses with spaces or commas between; empty is the hub itself. */
  readonly endpoint: string;
  readonly token: string;
  /** Whether the token is kept in this browser; otherwise it goes with the page. */
  readonly keepToken: boolean;
}

const key = 'alloy-hub';
const version = 1;

export const useHubSettings = create<HubSettingsState & { readonly fault: Fault | undefined }>()(() => ({
  ...storedSettings(),
  fault: undefined,
}));

/** Tells the engine what is set; called once it is connected. */
export async function applyHubSettings(): Promise<boolean> {
  const { endpoint, token } = useHubSettings.getState();
  const endpoints = endpoint.split(/[\s,]+/u).filter((one) => one !== '');
  try {
    await engine().hubSettings({ endpoints, ...(token.trim() !== '' && { token: token.trim() }) });
    useHubSettings.setState({ fault: undefined });
    return true;
  } catch (error) {
    useHubSettings.setState({ fault: toFault(error) });
    return false;
  }
}

/** Takes changed settings; the token is written down only where that was asked for. */
export async function changeHubSettings(change: Partial<HubSettingsState>): Promise<boolean> {
  useHubSettings.setState(change);
  if (!(await applyHubSettings())) return false;
  const { endpoint, token, keepToken } = useHubSettings.getState();
  try {
    const kept = { version, endpoint, ...(keepToken && { token }) };
    if (endpoint === '' && !(keepToken && token !== '')) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(kept));
  } catch {
    // Private windows may refuse; the settings then last as long as the page.
  }
  return true;
}

function storedSettings(): HubSettingsState {
  const none: HubSettingsState = { endpoint: '', token: '', keepToken: false };
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? 'null');
    if (typeof stored !== 'object' || stored === null) return none;
    if (!('version' in stored) || stored.version !== version) return none;
    const text = (name: string) => {
      const value: unknown = Reflect.get(stored, name);
      return typeof value === 'string' ? value : '';
    };
    return { endpoint: text('endpoint'), token: text('token'), keepToken: text('token') !== '' };
  } catch {
    return none;
  }
}
