/**
 * How a workgroup of the training kernels shares its work. It owns `threadRows` * `rows` rows of one side (queries in
 * the forward pass and for dq, keys for dk and dv) and walks over tiles of `COLUMNS` * `across` rows of the other.
 * Thread (y, x), x < COLUMNS, first makes the scores of its `rows` own rows against `across` others, walking over the
 * head; these go through workgroup memory, and then it adds up, for the same own rows, the vec4 columns x, x + COLUMNS,
 * ... of the output: `chunks` of them. Heads of more than 128 elements take several workgroups.
 *
 * Scores are vectors over the own rows of a thread, so that one load brings the weights of all of them. Vectors of q,
 * k, v and o come straight from storage: the two loops stay small (a software adapter compiles and runs them well),
 * while a GPU finds neighbours' loads in its first cache.
 */
export interface AttentionTile {
  readonly threadRows: number;
  /** Own rows of a thread: 2 or 4, a WGSL vector. */
  readonly rows: 2 | 4;
  readonly across: number;
  readonly chunks: number;
  /** Workgroups that share the columns of a wide head; each makes the scores anew. */
  readonly parts: number;
}

export type AttentionPass = 'forward' | 'queries' | 'keys';

/** Threads side by side. */
export const COLUMNS = 8;

const MAX_HEAD_WIDTH = 256;

/** vec4 accumulators of a thread at most: 64 registers. */
const MAX_ACCUMULATORS = 16;

/** Columns 0 to 127 of a head in one workgroup. */
const MAX_CHUNKS = 4;

/** Undefined for heads that no tile fits (no multiple of 4, or wider than 256): the plain kernels take any. */
export function attentionTile(headWidth: number, pass: AttentionPass): AttentionTile | undefined {
  if (headWidth % 4 !== 0 || headWidth > MAX_HEAD_WIDTH) return undefined;
  const chunks = Math.min(MAX_CHUNKS, Math.ceil(headWidth / 4 / COLUMNS));
  const outputs = pass === 'keys' ? 2 : 1;
  const rows = outputs * chunks * 4 > MAX_ACCUMULATORS ? 2 : 4;
  return { threadRows: 8, rows, across: 4, chunks, parts: Math.ceil(headWidth / 4 / (COLUMNS * chunks)) };
}

export function tileName({ threadRows, rows, across, chunks }: AttentionTile): string {
  return [threadRows, rows, across, chunks].join('.');
}

/** Rows that a workgroup owns. */
export function tileRows({ threadRows, rows }: AttentionTile): number {
  return threadRows * rows;
}

/** Rows of the other side that it takes at a time. */
export function tileAcross({ across }: AttentionTile): number {
  return COLUMNS * across;
}

export function tileThreads({ threadRows }: AttentionTile): number {
  return threadRows * COLUMNS;
}
