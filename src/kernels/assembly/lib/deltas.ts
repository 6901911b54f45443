/**
 * The deltas of S sources for one matrix, a tile of rows x columns at a time: dense ones where they lie, those of low rank
 * computed into scratch. What is read of a dispatch stays with the thread until the next one.
 */
import { scratch } from './scratch';
import { address, whole } from './slots';
import { load4 } from './vectors';

export const TILE_ROWS: u32 = 4;
export const TILE_COLUMNS: u32 = 256;

/** Scratch that a tile takes at most: 8 sources. */
export const TILE_BYTES: usize = <usize>8 * TILE_ROWS * TILE_COLUMNS * 4;

let isDense: bool = false;
let sources: u32 = 0;
let rows: u32 = 0;
let columns: u32 = 0;
let rank: u32 = 0;
/** Dense deltas, or the factors A. */
let values: usize = 0;
let b: usize = 0;
let scales: usize = 0;
/** Where the deltas of the tile begin, and how far the next source and the next row are. */
let origin: usize = 0;
let sourceStride: usize = 0;
let rowStride: usize = 0;

/** Reads from `slot` on: dense?, sources; deltas, or a, b, scales. Returns the slot behind them. */
export function readSource(slots: usize, slot: u32): u32 {
  isDense = whole(slots, slot) !== 0;
  sources = whole(slots, slot + 1);
  values = address(slots, slot + 2);
  if (isDense) return slot + 3;
  b = address(slots, slot + 3);
  scales = address(slots, slot + 4);
  return slot + 5;
}

/** Reads rows, columns, rank. */
export function readShape(slots: usize, slot: u32): void {
  rows = whole(slots, slot);
  columns = whole(slots, slot + 1);
  rank = whole(slots, slot + 2);
}

export function sourceCount(): u32 {
  return sources;
}

export function rowCount(): u32 {
  return rows;
}

export function columnCount(): u32 {
  return columns;
}

export function tilesAcross(): u32 {
  return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

/** The flat index of an element. */
export function elementAt(row: u32, column: u32): u32 {
  return row * columns + column;
}

/** The tile that `takePiece` has made ready. */
export let top: u32 = 0;
export let height: u32 = 0;
export let column: u32 = 0;
export let width: u32 = 0;

/** Makes ready the tile number `piece`, counted along the rows of the matrix. */
export function takePiece(piece: u32): void {
  const across = tilesAcross();
  column = (piece % across) * TILE_COLUMNS;
  width = min(columns - column, TILE_COLUMNS);
  top = (piece / across) * TILE_ROWS;
  height = min(rows - top, TILE_ROWS);
  takeTile(top, height, column, width);
}

/** Makes ready the deltas of `height` rows (up to 4) from `top` on, of `width` columns from `column` on. */
export function takeTile(top: u32, height: u32, column: u32, width: u32): void {
  if (isDense) {
    origin = values + (<usize>top * columns + column) * 4;
    sourceStride = <usize>rows * columns * 4;
    rowStride = <usize>columns * 4;
    return;
  }
  origin = scratch();
  rowStride = <usize>TILE_COLUMNS * 4;
  sourceStride = <usize>TILE_ROWS * rowStride;
  memory.fill(origin, 0, sourceStride * sources);
  for (let s: u32 = 0; s < sources; s++) {
    const scale = load<f32>(scales + (s << 2));
    const into = origin + s * sourceStride;
    for (let q: u32 = 0; q < rank; q++) {
      const from: usize = values + (<usize>(s * rank + q) * columns + column) * 4;
      addRow(into, from, width, top, height, s * rank + q, scale);
    }
  }
}

/** Adds a row of A, times a column of B and the scale, to the tile. Rows past its height repeat the last one. */
function addRow(into: usize, a: usize, width: u32, top: u32, height: u32, factor: u32, scale: f32): void {
  const b0 = f32x4.splat(scale * factorOf(top, factor));
  const b1 = f32x4.splat(scale * factorOf(top + min(1, height - 1), factor));
  const b2 = f32x4.splat(scale * factorOf(top + min(2, height - 1), factor));
  const b3 = f32x4.splat(scale * factorOf(top + min(3, height - 1), factor));
  for (let j: u32 = 0; j < width; j += 4) {
    const lanes = load4(a + (j << 2), width - j);
    const at = into + (j << 2);
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(b0, lanes)));
    v128.store(at, f32x4.add(v128.load(at, 1024), f32x4.mul(b1, lanes)), 1024);
    v128.store(at, f32x4.add(v128.load(at, 2048), f32x4.mul(b2, lanes)), 2048);
    v128.store(at, f32x4.add(v128.load(at, 3072), f32x4.mul(b3, lanes)), 3072);
  }
}

function factorOf(row: u32, factor: u32): f32 {
  return load<f32>(b + (<usize>row * sources * rank + factor) * 4);
}

/** Where the deltas of a source in row `row` of the tile begin. */
export function deltasOf(source: u32, row: u32): usize {
  return origin + source * sourceStride + row * rowStride;
}

/** How far the deltas of the next source are. */
export function nextSource(): usize {
  return sourceStride;
}

/** Which of the four elements from flat index `at` on a selection keeps. @param key where their variances lie */
export function keptLanes(key: usize, at: u32, left: u32, selection: usize): v128 {
  const keys = load4(key, left);
  const least = v128.load32_splat(selection);
  const places = i32x4.add(i32x4.splat(at), i32x4(0, 1, 2, 3));
  const among = v128.and(i32x4.eq(keys, least), i32x4.le_u(places, v128.load32_splat(selection, 4)));
  return v128.or(i32x4.gt_u(keys, least), among);
}
