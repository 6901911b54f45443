import { AlloyError } from '../util/errors.ts';
import type { Tuning } from './matmul.ts';

/**
 * How a workgroup of the training kernels shares its work. It owns `threadRows` * `rows` rows of one side (queries in
 * the forward pass and for dq, keys for dk and dv) and walks over tiles of `COLUMNS` * `across` rows of the other.
 * Thread (y, x), x < COLUMNS, first makes the scores of its `rows` own rows against `across` others, walking over the
 * head; these go through workgroup memory, and then it adds up, for the same own rows, the vec4 columns x, x + COLUMNS,
 * ... of the output: `chunks` of them.
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
}

export type AttentionPass = 'forward' | 'queries' | 'keys';

/** Threads side by side. */
export const COLUMNS = 8;

const MAX_HEAD_WIDTH = 256;

/** vec4 accumulators of a thread at most: 128 registers. */
const MAX_ACCUMULATORS = 32;

/** @throws AlloyError `unsupported` for heads that are no multiple of 4 or wider than 256. */
export function attentionTile(headWidth: number, pass: AttentionPass, tuning: Tuning): AttentionTile {
  if (headWidth % 4 !== 0 || headWidth < 4 || headWidth > MAX_HEAD_WIDTH) {
    throw new AlloyError(
      'unsupported',
      `Attention heads of ${headWidth} elements are not supported; head_dim must be a multiple of 4 up to ${MAX_HEAD_WIDTH}.`,
    );
  }
  const chunks = Math.ceil(headWidth / 4 / COLUMNS);
  const outputs = pass === 'keys' ? 2 : 1;
  const rows = outputs * chunks * 4 > MAX_ACCUMULATORS ? 2 : 4;
  return { threadRows: tuning === 'software' ? 8 : 8, rows, across: 4, chunks };
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

/** The lines of `line(0)` to `line(count - 1)`: loops over registers are written out. */
export function unroll(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n');
}
