import type { Gpu } from '../gpu/gpu.ts';
import { openTiles, type TileStore } from '../kernels/matmulTiles.ts';

/** The device with the tiles that suit its adapter: from the store, or timed once and put there. */
export async function tuned(gpu: Gpu, store: TileStore): Promise<Gpu> {
  await openTiles(gpu, store);
  return gpu;
}
