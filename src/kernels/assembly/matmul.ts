/**
 * Matrix products (`src/kernels/matmul.ts`) in blocks, after Goto & van de Geijn (2008): the right operand is decoded into
 * panels of the thread's own memory, which many rows of the left one meet. Where there are few rows, every weight is
 * decoded on its way into the sums.
 */
import { dotColumns, hasFewRows } from './lib/dots';
import { multiplyTile, multiplyTurned } from './lib/multiply';
import { DEPTH, FOURS_BYTES, packLeft, packRight, STRIP_BYTES } from './lib/panels';
import * as the from './lib/product';
import { scratch } from './lib/scratch';
import { columnFactors, storeTile } from './lib/tile';

/** Columns of a piece where there are few rows: `FEW` of `matmulPieces.ts`, which has all of these numbers. */
const FEW_COLUMNS: u32 = 8;
/** A block of the output at most, and how many there must be before they are as large. */
const ROWS: u32 = 192;
const COLUMNS: u32 = 64;
const ENOUGH: u32 = 16;

/** Where things lie in the thread's memory: sums of a tile, factors of the columns, the panel, the left block of TN. */
const FACTORS: usize = 256;
const PANEL: usize = 1024;
const TURNED: usize = PANEL + <usize>(COLUMNS >>> 3) * STRIP_BYTES;

/** Slots: see `lib/product.ts`. Pieces: blocks of 8 columns for a few rows, else blocks as `matmulPieces.ts` has them. */
export function matmul(slots: usize, from: u32, to: u32): void {
  the.readProduct(slots);
  if (hasFewRows()) {
    dotColumns(from * FEW_COLUMNS, min(to * FEW_COLUMNS, the.jCount));
    return;
  }
  let rows = ROWS;
  let columns = COLUMNS;
  while (columns > 8 && parts(the.iCount, rows) * parts(the.jCount, columns) < ENOUGH) {
    // Rows that must be packed, too, are best met by many columns.
    const least = the.product === the.TN ? columns : 2 * columns;
    if (rows >= least && the.iCount * 2 > rows) rows >>>= 1;
    else columns >>>= 1;
  }
  const bands = parts(the.iCount, rows);
  for (let piece = from; piece < to; piece++) {
    const i = (piece % bands) * rows;
    const j = (piece / bands) * columns;
    multiplyBlock(i, min(rows, the.iCount - i), j, min(columns, the.jCount - j));
  }
}

function parts(count: u32, size: u32): u32 {
  return (count + size - 1) / size;
}

/** The reduction in equal parts, each a multiple of 32: whole words and groups. */
function multiplyBlock(i: u32, rows: u32, j: u32, columns: u32): void {
  const memory = scratch();
  columnFactors(memory + FACTORS, j, columns);
  const depth = (parts(the.rCount, max(1, parts(the.rCount, DEPTH))) + 31) & ~31;
  let r: u32 = 0;
  do {
    multiplyPart(memory, i, rows, j, columns, r, min(depth, the.rCount - r));
    r += depth;
  } while (r < the.rCount);
}

function multiplyPart(memory: usize, i: u32, rows: u32, j: u32, columns: u32, r: u32, depth: u32): void {
  packRight(memory + PANEL, j, columns, r, depth);
  const isTurned = the.product === the.TN;
  const pitch = the.leftPitch;
  const left = the.left + pitch * i + ((<usize>r) << 2);
  if (isTurned) packLeft(memory + TURNED, i, rows, r, depth);
  for (let column: u32 = 0; column < columns; column += 8) {
    const strip = memory + PANEL + <usize>(column >>> 3) * STRIP_BYTES;
    const factors = memory + FACTORS + ((<usize>column) << 2);
    const width = min(8, columns - column);
    for (let row: u32 = 0; row < rows; row += 4) {
      const height = min(4, rows - row);
      if (isTurned) multiplyTurned(memory + TURNED + <usize>(row >>> 2) * FOURS_BYTES, strip, depth, memory);
      else multiplyTile(left + pitch * row, pitch, height, strip, depth, memory);
      storeTile(memory, factors, i + row, j + column, height, width, r === 0);
    }
  }
}
