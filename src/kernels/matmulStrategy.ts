import type { Tuning } from '../device/device.ts';
import type { DirectPlan } from './matmulDirect.ts';
import type { Product } from './matmulOperand.ts';
import type { TiledPlan } from './matmulTiled.ts';
import type { VectorPlan } from './matmulVector.ts';

export type Strategy = TiledPlan | DirectPlan | VectorPlan;

/** The sizes of a contraction: out[i, j] = sum over r. */
export interface Extent {
  readonly i: number;
  readonly j: number;
  readonly r: number;
}

/**
 * Tiles were chosen on an H100 (bench/matmul.ts --compare) among those that keep to 16 KiB of workgroup memory and 256
 * threads. TFLOP/s at 1024 and 4096, f32: NT 22 and 27, NN 23 and 33, TN 26 and 37; 4-bit NT 23 and 27, NN 20 and 31.
 */
export const TILE_NT: TiledPlan = {
  kind: 'tiled',
  tileRows: 64,
  tileCols: 64,
  depth: 32,
  threadRows: 4,
  threadCols: 4,
  slices: 1,
};
export const TILE_GRADIENT: TiledPlan = { ...TILE_NT, depth: 16, threadRows: 8 };

/** Four slices of a small tile, for outputs too few to fill a GPU with tiles of 64: two to three times faster there. */
export const TILE_SLICED: TiledPlan = { ...TILE_NT, tileRows: 32, tileCols: 32, depth: 16, slices: 4 };
/** Sixteen slices of a tiny tile, for the gradients of LoRA matrices: a few columns out of thousands of rows. */
const TILE_SLIVER: TiledPlan = { ...TILE_NT, tileRows: 16, tileCols: 16, depth: 8, slices: 16 };

/**
 * Rows of the passes that read a prompt, largest first; a shorter rest goes through the smallest that holds it. Many rows
 * share the work of unpacking weights, padding is work for nothing.
 */
export const PROMPT_ROWS: Readonly<Record<Tuning, readonly number[]>> = {
  gpu: [128],
  software: [32],
  wasm: [128, 32],
};

/** Picks the kernel for an adapter and a shape. `weightBits`: what an element of the right operand takes. */
export function chooseStrategy(
  tuning: Tuning,
  product: Product,
  extent: Extent,
  weightBits: number,
): Strategy {
  if (tuning !== 'gpu') return chooseDirect(product, extent, weightBits);
  if (product === 'nt' && extent.i <= 8) return chooseVector(extent, weightBits);
  return chooseTile(product, extent);
}

/**
 * 64 sums a thread: fewer load more, more do not fit the registers (lavapipe, 8 lanes of AVX2). 4-bit weights along j
 * are read 8 at a time, hence the square block.
 */
function chooseDirect(product: Product, { i }: Extent, weightBits: number): DirectPlan {
  if (product === 'tn' || i > 8) {
    const square = product === 'nn' && weightBits === 4;
    return { kind: 'direct', threadRows: square ? 8 : 16, threadCols: square ? 8 : 4, share: true };
  }
  const threadRows = i <= 2 ? i : i <= 4 ? 4 : 8;
  return { kind: 'direct', threadRows, threadCols: 8, share: threadRows >= 4 };
}

/** Decoding packed weights costs instructions that four rows share; f32 is faster with more, smaller teams. */
function chooseVector({ i }: Extent, weightBits: number): VectorPlan {
  const threadRows = i <= 1 ? 1 : i <= 2 ? 2 : i <= 4 ? 4 : 8;
  const threadCols = threadRows === 8 || weightBits > 8 ? 2 : 4;
  return { kind: 'vector', threadRows, threadCols, lanes: 32, teams: 4 };
}

/** Tiles of 64 where there are enough of them to keep a large GPU busy. */
function chooseTile(product: Product, { i, j, r }: Extent): TiledPlan {
  const tiles = (size: number) => Math.ceil(i / size) * Math.ceil(j / size);
  if (tiles(64) >= 128) return product === 'nt' ? TILE_NT : TILE_GRADIENT;
  return product === 'tn' && tiles(32) < 64 && r >= 512 ? TILE_SLIVER : TILE_SLICED;
}
