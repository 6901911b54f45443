/** Sums over rows (`src/kernels/matmulColumnSums.ts`): the gradient of a bias. */
import { address, whole } from './lib/slots';

/** Columns of a piece; `COLUMNS` there. */
const COLUMNS: u32 = 16;

/** Slots: dy, db; m, n, stride, offset, accumulate. Pieces: blocks of 16 columns. */
export function columnSums(slots: usize, from: u32, to: u32): void {
  const n = whole(slots, 3);
  const end = min(to * COLUMNS, n);
  const pitch = (<usize>whole(slots, 4)) << 2;
  const dy = address(slots, 0) + ((<usize>whole(slots, 5)) << 2);
  for (let column = from * COLUMNS; column < end; ) {
    const at = dy + ((<usize>column) << 2);
    const into = address(slots, 1) + ((<usize>column) << 2);
    if (end - column >= COLUMNS) {
      addSixteen(at, pitch, into, slots);
      column += COLUMNS;
    } else {
      addOne(at, pitch, into, slots);
      column++;
    }
  }
}

/** Two strands, as one addition waits for the other. */
function addSixteen(at: usize, pitch: usize, into: usize, slots: usize): void {
  const pairs = at + (pitch << 1) * (whole(slots, 2) >>> 1);
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  let sum2 = f32x4.splat(0);
  let sum3 = f32x4.splat(0);
  let odd0 = f32x4.splat(0);
  let odd1 = f32x4.splat(0);
  let odd2 = f32x4.splat(0);
  let odd3 = f32x4.splat(0);
  for (; at !== pairs; at += pitch << 1) {
    const next = at + pitch;
    sum0 = f32x4.add(sum0, v128.load(at));
    sum1 = f32x4.add(sum1, v128.load(at, 16));
    sum2 = f32x4.add(sum2, v128.load(at, 32));
    sum3 = f32x4.add(sum3, v128.load(at, 48));
    odd0 = f32x4.add(odd0, v128.load(next));
    odd1 = f32x4.add(odd1, v128.load(next, 16));
    odd2 = f32x4.add(odd2, v128.load(next, 32));
    odd3 = f32x4.add(odd3, v128.load(next, 48));
  }
  if ((whole(slots, 2) & 1) !== 0) {
    sum0 = f32x4.add(sum0, v128.load(at));
    sum1 = f32x4.add(sum1, v128.load(at, 16));
    sum2 = f32x4.add(sum2, v128.load(at, 32));
    sum3 = f32x4.add(sum3, v128.load(at, 48));
  }
  sum0 = f32x4.add(sum0, odd0);
  sum1 = f32x4.add(sum1, odd1);
  sum2 = f32x4.add(sum2, odd2);
  sum3 = f32x4.add(sum3, odd3);
  if (whole(slots, 6) !== 0) {
    sum0 = f32x4.add(sum0, v128.load(into));
    sum1 = f32x4.add(sum1, v128.load(into, 16));
    sum2 = f32x4.add(sum2, v128.load(into, 32));
    sum3 = f32x4.add(sum3, v128.load(into, 48));
  }
  v128.store(into, sum0);
  v128.store(into, sum1, 16);
  v128.store(into, sum2, 32);
  v128.store(into, sum3, 48);
}

function addOne(at: usize, pitch: usize, into: usize, slots: usize): void {
  let sum: f32 = 0;
  for (let row: u32 = 0; row < whole(slots, 2); row++) {
    sum += load<f32>(at);
    at += pitch;
  }
  if (whole(slots, 6) !== 0) sum += load<f32>(into);
  store<f32>(into, sum);
}
