import { create } from 'zustand';
import type { DeviceReport, MemoryReport } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';

export type DeviceState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'ready'; readonly report: DeviceReport }
  /** No WebGPU, or an adapter that is too small; what is missing is in the fault. */
  | { readonly kind: 'unsupported'; readonly fault: Fault }
  | { readonly kind: 'lost'; readonly reason: string; readonly report: DeviceReport };

interface DeviceStore {
  readonly device: DeviceState;
  readonly memory: MemoryReport | undefined;
}

export const useDevice = create<DeviceStore>()(() => ({ device: { kind: 'opening' }, memory: undefined }));

export const selectReady = (state: DeviceStore) => state.device.kind === 'ready';

/** Opens the device and then listens for its loss; both ends of the story are in the store. */
export async function openDevice(): Promise<void> {
  useDevice.setState({ device: { kind: 'opening' } });
  let report: DeviceReport;
  try {
    report = await engine().open();
  } catch (error) {
    useDevice.setState({ device: { kind: 'unsupported', fault: toFault(error) } });
    return;
  }
  useDevice.setState({ device: { kind: 'ready', report } });
  refreshMemory();
  engine()
    .deviceLost()
    .then(
      (reason) => useDevice.setState({ device: { kind: 'lost', reason, report } }),
      (error) => useDevice.setState({ device: { kind: 'lost', reason: toFault(error).message, report } }),
    );
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
