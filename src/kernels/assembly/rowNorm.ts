import { address, whole } from './lib/slots';

/** Columns that a piece sums up, as a workgroup does. */
const COLUMNS: u32 = 64;

/**
 * Slots: layer norm?; x, stats, dy, partials; rows, width, strip. Pieces: strips x blocks of 64 columns. What the weight was
 * multiplied with is x * rstd, or (x - mean) * rstd with stats (mean, rstd).
 */
export function rowNormPartials(slots: usize, from: u32, to: u32): void {
  const isLayer = whole(slots, 0) !== 0;
  const x = address(slots, 1);
  const stats = address(slots, 2);
  const dy = address(slots, 3);
  const partials = address(slots, 4);
  const rows = whole(slots, 5);
  const width = whole(slots, 6);
  const strip = whole(slots, 7);
  const blocks = (width + COLUMNS - 1) / COLUMNS;
  for (let piece = from; piece < to; piece++) {
    const number = piece / blocks;
    const first = (piece % blocks) * COLUMNS;
    const count = min(width - first, COLUMNS);
    const into: usize = partials + (<usize>number * width + first) * 4;
    memory.fill(into, 0, <usize>count * 4);
    const end = min((number + 1) * strip, rows);
    for (let row = number * strip; row < end; row++) {
      const at: usize = (<usize>row * width + first) * 4;
      const mean: f32 = isLayer ? load<f32>(stats + (row << 3)) : 0;
      const scale: f32 = isLayer ? load<f32>(stats + (row << 3), 4) : load<f32>(stats + (row << 2));
      addProducts(into, x + at, dy + at, count, mean, scale);
    }
  }
}

/** into += dy * (x - mean) * scale */
function addProducts(into: usize, x: usize, dy: usize, count: u32, mean: f32, scale: f32): void {
  const means = f32x4.splat(mean);
  const scales = f32x4.splat(scale);
  const end = count & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    const normed = f32x4.mul(f32x4.sub(v128.load(x + at), means), scales);
    v128.store(into + at, f32x4.add(v128.load(into + at), f32x4.mul(v128.load(dy + at), normed)));
  }
  for (let j = end; j < count; j++) {
    const at: usize = j << 2;
    const normed = (load<f32>(x + at) - mean) * scale;
    store<f32>(into + at, load<f32>(into + at) + load<f32>(dy + at) * normed);
  }
}

/** Slots: accumulate?; partials, dw; strips, width. Pieces: blocks of 64 columns. */
export function rowNormSum(slots: usize, from: u32, to: u32): void {
  const accumulate = whole(slots, 0) !== 0;
  const partials = address(slots, 1);
  const dw = address(slots, 2);
  const strips = whole(slots, 3);
  const width = whole(slots, 4);
  const end = min(to * COLUMNS, width);
  for (let j = from * COLUMNS; j < end; j++) {
    let sum: f32 = accumulate ? load<f32>(dw + (j << 2)) : 0;
    for (let strip: u32 = 0; strip < strips; strip++) {
      sum += load<f32>(partials + (<usize>strip * width + j) * 4);
    }
    store<f32>(dw + (j << 2), sum);
  }
}
