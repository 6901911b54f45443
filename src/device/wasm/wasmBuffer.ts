import type { DeviceBuffer, DeviceMemory } from '../deviceBuffer.ts';

/** A range of the device's memory. */
export interface WasmRange extends DeviceMemory {
  readonly address: number;
}

/** Where a buffer begins. */
export function addressOf({ memory, offset }: DeviceBuffer): number {
  return (memory as WasmRange).address + offset;
}
