import type { Device } from '../device/device.ts';
import { openTiles, type TileStore } from '../kernels/matmulTiles.ts';

/** The device with the tiles that suit its adapter: from the store, or timed once and put there. */
export async function tuned(device: Device, store: TileStore): Promise<Device> {
  await openTiles(device, store);
  return device;
}
