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

const DIRECT_SMALL: DirectPlan = { kind: 'direct', threadRows: 8, threadCols: 8, threads: 8 };
const DIRECT_LARGE: DirectPlan = { kind: 'direct', threadRows: 8, threadCols: 8, threads: 8 };

/** Picks the kernel for an adapter and a shape. */
export function chooseStrategy(tuning: Tuning, product: Product, { i, j }: Extent): Strategy {
  if (tuning === 'software') {
    return i >= 256 && j >= 256 ? DIRECT_LARGE : DIRECT_SMALL;
  }
  if (product === 'nt' && i <= 8) {
    const threadRows = i <= 1 ? 1 : i <= 2 ? 2 : i <= 4 ? 4 : 8;
    return { kind: 'vector', threadRows, threadCols: threadRows === 8 ? 2 : 4, lanes: 32, teams: 4 };
  }
  const tiles = Math.ceil(i / 64) * Math.ceil(j / 64);
  return tiles < 128 ? TILE_32 : TILE_64;
}
