import {
  columnCount,
  deltasOf,
  elementAt,
  keptLanes,
  readShape,
  readSource,
  rowCount,
  sourceCount,
  TILE_BYTES,
  TILE_COLUMNS,
  TILE_ROWS,
  takeTile,
  tilesAcross,
} from './lib/deltas';
import { scratch } from './lib/scratch';
import { address, whole } from './lib/slots';
import { load4, sumOf } from './lib/vectors';

/** Rows are shared among so many groups: `ROW_GROUPS` of `deltaStats.ts`. */
const ROW_GROUPS: u32 = 64;

/** Behind the tile in scratch: the sums, f64, and the sign that the sources' sum has in each column of a row. */
const SUMS: usize = TILE_BYTES;
const SIGNS: usize = SUMS + 1024;

/**
 * Slots: selected?, dense?, sources; a, b, scales or deltas, (variance, selection), partials; rows, columns, rank. Pieces:
 * groups, each an equal run of rows of 256 columns.
 */
export function deltaStats(slots: usize, from: u32, to: u32): void {
  const isSelected = whole(slots, 0) !== 0;
  const next = readSource(slots, 1);
  const more: u32 = isSelected ? 2 : 0;
  const variance: usize = isSelected ? address(slots, next) : 0;
  const selection = address(slots, next + 1);
  const partials = address(slots, next + more);
  readShape(slots, next + more + 1);
  const sums = scratch() + SUMS;
  const count = numbers();
  const across = tilesAcross();
  const share = (rowCount() + rowGroups() - 1) / rowGroups();
  for (let piece = from; piece < to; piece++) {
    const column = (piece % across) * TILE_COLUMNS;
    const width = min(columnCount() - column, TILE_COLUMNS);
    const end = min((piece / across + 1) * share, rowCount());
    memory.fill(sums, 0, count << 3);
    for (let top = (piece / across) * share; top < end; top += TILE_ROWS) {
      const height = min(end - top, TILE_ROWS);
      takeTile(top, height, column, width);
      for (let row: u32 = 0; row < height; row++) {
        const at = elementAt(top + row, column);
        addSources(sums, row, width, variance === 0 ? 0 : variance + (at << 2), at, selection);
        addPairs(sums, row, width);
      }
    }
    for (let i: u32 = 0; i < count; i++) {
      store<f32>(partials + ((piece * count + i) << 2), <f32>load<f64>(sums + (i << 3)));
    }
  }
}

/** 4 a source and 2 a pair. */
function numbers(): u32 {
  const sources = sourceCount();
  return 4 * sources + sources * (sources - 1);
}

/** As `tileGrid` has them: fewer rows of a tile for more sources. */
function rowGroups(): u32 {
  const sources = sourceCount();
  const tall: u32 = sources <= 2 ? 4 : sources <= 4 ? 2 : 1;
  return min((rowCount() + tall - 1) / tall, ROW_GROUPS);
}

/** Selected energy, energy, mass and opposed mass of every source, of one row of the tile. */
function addSources(sums: usize, row: u32, width: u32, keys: usize, at: u32, selection: usize): void {
  const signs = scratch() + SIGNS;
  const zero = f32x4.splat(0);
  elect(signs, row, width);
  for (let s: u32 = 0; s < sourceCount(); s++) {
    const deltas = deltasOf(s, row);
    let selected = zero;
    let energy = zero;
    let mass = zero;
    let opposed = zero;
    for (let j: u32 = 0; j < width; j += 4) {
      const left = width - j;
      const delta = load4(deltas + (j << 2), left);
      const square = f32x4.mul(delta, delta);
      const size = f32x4.abs(delta);
      const positive = v128.load(signs + (j << 2));
      const opposes = v128.bitselect(f32x4.lt(delta, zero), f32x4.gt(delta, zero), positive);
      const counted =
        keys === 0 ? square : v128.and(square, keptLanes(keys + (j << 2), at + j, left, selection));
      selected = f32x4.add(selected, counted);
      energy = f32x4.add(energy, square);
      mass = f32x4.add(mass, size);
      opposed = f32x4.add(opposed, v128.and(size, opposes));
    }
    const into = sums + (s << 5);
    addTo(into, selected);
    addTo(into + 8, energy);
    addTo(into + 16, mass);
    addTo(into + 24, opposed);
  }
}

/** All ones where the sum over the sources is at least 0. */
function elect(signs: usize, row: u32, width: u32): void {
  const zero = f32x4.splat(0);
  for (let j: u32 = 0; j < width; j += 4) {
    let total = zero;
    for (let s: u32 = 0; s < sourceCount(); s++) {
      total = f32x4.add(total, load4(deltasOf(s, row) + (j << 2), width - j));
    }
    v128.store(signs + (j << 2), f32x4.ge(total, zero));
  }
}

/** Product, and the lesser size where signs are opposite, of every pair, of one row of the tile. */
function addPairs(sums: usize, row: u32, width: u32): void {
  const sources = sourceCount();
  const zero = f32x4.splat(0);
  let into = sums + (sources << 5);
  for (let s: u32 = 0; s < sources; s++) {
    for (let t = s + 1; t < sources; t++) {
      let product = zero;
      let conflict = zero;
      for (let j: u32 = 0; j < width; j += 4) {
        const a = load4(deltasOf(s, row) + (j << 2), width - j);
        const b = load4(deltasOf(t, row) + (j << 2), width - j);
        // Where one of them is 0 the lesser size is, too.
        const opposite = i32x4.shr_s(v128.xor(a, b), 31);
        const less = f32x4.min(f32x4.abs(a), f32x4.abs(b));
        product = f32x4.add(product, f32x4.mul(a, b));
        conflict = f32x4.add(conflict, v128.and(less, opposite));
      }
      addTo(into, product);
      addTo(into + 8, conflict);
      into += 16;
    }
  }
}

function addTo(sum: usize, lanes: v128): void {
  store<f64>(sum, load<f64>(sum) + sumOf(lanes));
}

/** Slots: partials, stats; groups, count, start. Pieces: numbers. */
export function deltaStatsSum(slots: usize, from: u32, to: u32): void {
  const partials = address(slots, 0);
  const stats = address(slots, 1);
  const groups = whole(slots, 2);
  const count = whole(slots, 3);
  const start = whole(slots, 4);
  for (let number = from; number < to; number++) {
    let sum: f64 = 0;
    for (let group: u32 = 0; group < groups; group++) {
      sum += load<f32>(partials + ((group * count + number) << 2));
    }
    store<f32>(stats + ((start + number) << 2), <f32>sum);
  }
}
