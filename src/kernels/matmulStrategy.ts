import type { DirectPlan } from './matmulDirect.ts';
import type { Product } from './matmulOperand.ts';
import type { TiledPlan } from './matmulTiled.ts';
import type { VectorPlan } from './matmulVector.ts';

/** The kind of adapter that kernels are written for. */
export type Tuning = 'software' | 'gpu';

export type Strategy = TiledPlan | DirectPlan | VectorPlan;

/** The sizes of a contraction: out[i, j] = sum over r. */
export interface Extent {
  readonly i: number;
  readonly j: number;
  readonly r: number;
}

const TILE_64: TiledPlan = {
  kind: 'tiled',
  tileRows: 64,
  tileCols: 64,
  depth: 32,
  threadRows: 4,
  threadCols: 4,
  slices: 1,
};
/** Four slices of a small tile: for outputs too few to fill a GPU with tiles of 64. */
const TILE_32: TiledPlan = { ...TILE_64, tileRows: 32, tileCols: 32, depth: 16, slices: 4 };

/** Picks the kernel for an adapter and a shape. `wideChunks`: the weights are read 8 values at a time (4 bits). */
export function chooseStrategy(
  tuning: Tuning,
  product: Product,
  extent: Extent,
  wideChunks: boolean,
): Strategy {
  return tuning === 'software' ? chooseDirect(product, extent, wideChunks) : chooseForGpu(product, extent);
}

/**
 * 64 sums a thread: fewer load more, more do not fit the registers (lavapipe, 8 lanes of AVX2). Decoding 4-bit
 * weights along j yields 8 values at a time, hence the square block.
 */
function chooseDirect(product: Product, { i }: Extent, wideChunks: boolean): DirectPlan {
  if (product === 'tn' || i > 8) {
    const square = product === 'nn' && wideChunks;
    return { kind: 'direct', threadRows: square ? 8 : 16, threadCols: square ? 8 : 4, share: true };
  }
  const threadRows = i <= 2 ? i : i <= 4 ? 4 : 8;
  return { kind: 'direct', threadRows, threadCols: 8, share: threadRows >= 4 };
}

function chooseForGpu(product: Product, { i, j }: Extent): Strategy {
  if (product === 'nt' && i <= 8) {
    const threadRows = i <= 1 ? 1 : i <= 2 ? 2 : i <= 4 ? 4 : 8;
    return { kind: 'vector', threadRows, threadCols: threadRows === 8 ? 2 : 4, lanes: 32, teams: 4 };
  }
  const tiles = Math.ceil(i / 64) * Math.ceil(j / 64);
  return tiles < 128 ? TILE_32 : TILE_64;
}
