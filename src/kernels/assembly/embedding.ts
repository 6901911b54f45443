import { half1, halves4, pairOf } from './lib/halves';
import { scratch } from './lib/scratch';
import { address, real, whole } from './lib/slots';

/** Formats of the table: constants of the kernel. */
const F32: u32 = 0;
const F16: u32 = 1;

/**
 * Slots: format (0 f32, 1 f16, 2 affine), bits, group, words of a (scale, minimum) pair; tokens, w, (scales), y; rows, width,
 * stride, (groups), rowStart, rowCount, scale. What stands in brackets is there for affine tables alone. Pieces: rows of y.
 */
export function embeddingForward(slots: usize, from: u32, to: u32): void {
  const format = whole(slots, 0);
  const more: u32 = format > F16 ? 1 : 0;
  const tokens = address(slots, 4);
  const w = address(slots, 5);
  const y = address(slots, 6 + more);
  const width = whole(slots, 8 + more);
  const stride = whole(slots, 9 + more);
  const groups: u32 = more !== 0 ? whole(slots, 11) : 0;
  const rowStart = whole(slots, 10 + 2 * more);
  const rowCount = whole(slots, 11 + 2 * more);
  const scale = real(slots, 12 + 2 * more);
  for (let row = from; row < to; row++) {
    const source = load<u32>(tokens + ((<usize>row) << 2)) - rowStart;
    if (source >= rowCount) continue;
    const at: usize = w + <usize>source * stride * 4;
    const into: usize = y + <usize>row * width * 4;
    if (format === F32) scaled(at, into, width, scale);
    else if (format === F16) widened(at, into, width, scale);
    else unpacked(slots, at, address(slots, 6), source * groups, into, width, scale);
  }
}

function scaled(from: usize, into: usize, width: u32, scale: f32): void {
  const scales = f32x4.splat(scale);
  const end = width & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    v128.store(into + at, f32x4.mul(v128.load(from + at), scales));
  }
  for (let j = end; j < width; j++) {
    const at: usize = j << 2;
    store<f32>(into + at, load<f32>(from + at) * scale);
  }
}

function widened(from: usize, into: usize, width: u32, scale: f32): void {
  const scales = f32x4.splat(scale);
  const end = width & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const values = halves4(v128.load16x4_u(from + ((<usize>j) << 1)));
    v128.store(into + ((<usize>j) << 2), f32x4.mul(values, scales));
  }
  for (let j = end; j < width; j++) {
    store<f32>(into + ((<usize>j) << 2), half1(load<u16>(from + ((<usize>j) << 1))) * scale);
  }
}

/** A row of whole groups, eight elements at a time; what does not fit into `width` is padding. */
function unpacked(
  slots: usize,
  from: usize,
  scales: usize,
  firstGroup: u32,
  into: usize,
  width: u32,
  scale: f32,
): void {
  const bits = whole(slots, 1);
  const group = whole(slots, 2);
  const pairWords = whole(slots, 3);
  const factor = f32x4.splat(scale);
  for (let j: u32 = 0; j < width; j += 8) {
    const pair = pairOf(scales, firstGroup + j / group, pairWords);
    const slope = v128.shuffle<f32>(pair, pair, 0, 0, 0, 0);
    const least = v128.shuffle<f32>(pair, pair, 1, 1, 1, 1);
    const eight = i16x8.extend_low_i8x16_u(eightBytes(from, j, bits));
    const low = f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(eight));
    const high = f32x4.convert_i32x4_u(i32x4.extend_high_i16x8_u(eight));
    const room = width - j;
    const target: usize = room < 8 ? scratch() : into + ((<usize>j) << 2);
    v128.store(target, f32x4.mul(f32x4.add(f32x4.mul(low, slope), least), factor));
    v128.store(target, f32x4.mul(f32x4.add(f32x4.mul(high, slope), least), factor), 16);
    if (room < 8) memory.copy(into + ((<usize>j) << 2), target, room << 2);
  }
}

/** The elements j .. j + 7 as the first eight bytes. */
function eightBytes(from: usize, j: u32, bits: u32): v128 {
  if (bits === 8) return v128.load64_zero(from + j);
  const both = v128.load32_zero(from + (<usize>j >> 1));
  const low = v128.and(both, i8x16.splat(0x0f));
  const high = i8x16.shr_u(both, 4);
  return i8x16.shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** Elements that a piece of `embeddingClear` sets to 0. */
const CLEARED: u32 = 16384;

/** Slots: dw; count. Pieces: runs of 16384 elements. */
export function embeddingClear(slots: usize, from: u32, to: u32): void {
  const dw = address(slots, 0);
  const begin: usize = <usize>from * CLEARED;
  const end: usize = min(<usize>to * CLEARED, <usize>whole(slots, 1));
  memory.fill(dw + begin * 4, 0, (end - begin) * 4);
}

/** Columns that a piece of the gradient adds up, as a workgroup does. */
const COLUMNS: u32 = 64;

/**
 * Slots: dy, segments, dw; rows, width, rowStart, rowCount, scale. Pieces: blocks of 64 columns x segments, of which there
 * are at most as many as rows.
 */
export function embeddingBackward(slots: usize, from: u32, to: u32): void {
  const dy = address(slots, 0);
  const segments = address(slots, 1);
  const dw = address(slots, 2);
  const rows = whole(slots, 3);
  const width = whole(slots, 4);
  const rowStart = whole(slots, 5);
  const rowCount = whole(slots, 6);
  const scale = real(slots, 7);
  const count = load<u32>(segments);
  const begins: usize = segments + ((<usize>(1 + rows)) << 2);
  const order: usize = segments + ((<usize>(2 + 2 * rows)) << 2);
  for (let piece = from; piece < to; piece++) {
    const segment = piece % rows;
    if (segment >= count) continue;
    const token = load<u32>(segments + ((<usize>segment) << 2), 4) - rowStart;
    if (token >= rowCount) continue;
    const column = (piece / rows) * COLUMNS;
    const begin = load<u32>(begins + ((<usize>segment) << 2));
    const end = load<u32>(begins + ((<usize>segment) << 2), 4);
    const into: usize = dw + (<usize>token * width + column) * 4;
    const listed: usize = order + ((<usize>begin) << 2);
    addSegment(
      into,
      dy + ((<usize>column) << 2),
      listed,
      end - begin,
      width,
      min(width - column, COLUMNS),
      scale,
    );
  }
}

/** into += scale * Σ of the rows that are listed, in `columns` columns. */
function addSegment(
  into: usize,
  dy: usize,
  listed: usize,
  count: u32,
  width: u32,
  columns: u32,
  scale: f32,
): void {
  const end = columns & ~3;
  for (let j: u32 = 0; j < end; j += 4) {
    const at: usize = j << 2;
    let sum = f32x4.splat(0);
    for (let i: u32 = 0; i < count; i++) {
      const row = load<u32>(listed + ((<usize>i) << 2));
      sum = f32x4.add(sum, v128.load(dy + at + <usize>row * width * 4));
    }
    v128.store(into + at, f32x4.add(v128.load(into + at), f32x4.mul(sum, f32x4.splat(scale))));
  }
  for (let j = end; j < columns; j++) {
    const at: usize = j << 2;
    let sum: f32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      const row = load<u32>(listed + ((<usize>i) << 2));
      sum += load<f32>(dy + at + <usize>row * width * 4);
    }
    store<f32>(into + at, load<f32>(into + at) + scale * sum);
  }
}
