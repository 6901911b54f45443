import { create } from 'zustand';
import { DEVICE_CHOICES, type DeviceChoice } from '../../pipeline/deviceChoice.ts';
import type { DeviceReport, MemoryReport } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';

export type DeviceState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'ready'; readonly report: DeviceReport }
  /** Neither a GPU nor the processor can compute here; what is missing is in the fault. */
  | { readonly kind: 'unsupported'; readonly fault: Fault }
  | { readonly kind: 'lost'; readonly reason: string; readonly report: DeviceReport };

interface DeviceStore {
  readonly device: DeviceState;
  readonly memory: MemoryReport | undefined;
  /** What the person wants; what it led to is in the report. */
  readonly choice: DeviceChoice;
}

const preferenceKey = 'alloy-device';
const preferenceVersion = 1;

export const useDevice = create<DeviceStore>()(() => ({
  device: { kind: 'opening' },
  memory: undefined,
  choice: storedChoice(),
}));

export const selectReady = (state: DeviceStore) => state.device.kind === 'ready';

let generation = 0;

/** Opens the device and then listens for its loss; both ends of the story are in the store. */
export async function openDevice(): Promise<void> {
  const mine = ++generation;
  // What happens to a device that another one has replaced is no news.
  const tell = (device: DeviceState) => {
    if (mine === generation) useDevice.setState({ device });
  };
  tell({ kind: 'opening' });
  let report: DeviceReport;
  try {
    report = await engine().open(useDevice.getState().choice);
  } catch (error) {
    tell({ kind: 'unsupported', fault: toFault(error) });
    return;
  }
  tell({ kind: 'ready', report });
  refreshMemory();
  engine()
    .deviceLost()
    .then(
      (reason) => tell({ kind: 'lost', reason, report }),
      (error) => tell({ kind: 'lost', reason: toFault(error).message, report }),
    );
}

/** Keeps another choice and opens what it leads to. */
export async function chooseDevice(choice: DeviceChoice): Promise<void> {
  useDevice.setState({ choice, memory: undefined });
  try {
    localStorage.setItem(preferenceKey, JSON.stringify({ version: preferenceVersion, choice }));
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
  await openDevice();
}

function storedChoice(): DeviceChoice {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(preferenceKey) ?? 'null');
    if (typeof stored !== 'object' || stored === null) return 'auto';
    if (!('version' in stored) || stored.version !== preferenceVersion || !('choice' in stored))
      return 'auto';
    return DEVICE_CHOICES.find((choice) => choice === stored.choice) ?? 'auto';
  } catch {
    return 'auto';
  }
}

/** Reads the device's memory; called on a slow timer and after what is known to change it. */
export async function refreshMemory(): Promise<void> {
  if (!selectReady(useDevice.getState())) return;
  try {
    useDevice.setState({ memory: await engine().memory() });
  } catch {
    // A lost device answers no questions; its loss is reported on its own way.
    useDevice.setState({ memory: undefined });
  }
}
