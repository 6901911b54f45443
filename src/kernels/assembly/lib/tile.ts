/** From the sums of a block to the output: what the epilogue of `matmulKernel.ts` does. */
import * as the from './product';

/** factors[c] = alpha times the column scale of column j + c; for all columns of whole strips. */
export function columnFactors(factors: usize, j: u32, columns: u32): void {
  for (let column: u32 = 0; column < columns; column++) {
    const scale: f32 = the.product === the.NT ? the.factorOf(j + column) : 1;
    store<f32>(factors + (column << 2), the.alpha * scale);
  }
}

/**
 * Brings `rows` x `columns` sums (rows of 8) to out[i, j]. `factors` are those of its columns; only the first part of a sum
 * meets bias and residual, the others are added to it.
 */
export function storeTile(
  sums: usize,
  factors: usize,
  i: u32,
  j: u32,
  rows: u32,
  columns: u32,
  first: bool,
): void {
  const adds = the.accumulate || !first;
  const bias = first && the.bias !== 0 ? the.bias + ((<usize>j) << 2) : 0;
  const residual = first && the.residual !== 0 ? the.residual + the.residualPitch * i + ((<usize>j) << 2) : 0;
  const to = the.out + the.outPitch * i + ((<usize>j) << 2);
  if (the.product === the.TN && the.columnScale !== 0) scaleRows(sums, i, rows);
  if (columns === 8 && (bias | residual) === 0) storeWhole(sums, factors, to, rows, adds);
  else storePart(sums, factors, to, bias, residual, rows, (<usize>columns) << 2, adds);
}

/** The column scale of TN belongs to rows. */
function scaleRows(sums: usize, i: u32, rows: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const factor = f32x4.splat(the.factorOf(i + row));
    v128.store(sums, f32x4.mul(v128.load(sums), factor));
    v128.store(sums, f32x4.mul(v128.load(sums, 16), factor), 16);
    sums += 32;
  }
}

function storeWhole(sums: usize, factors: usize, to: usize, rows: u32, adds: bool): void {
  const lowFactors = v128.load(factors);
  const highFactors = v128.load(factors, 16);
  for (const end = sums + ((<usize>rows) << 5); sums < end; sums += 32) {
    let low = f32x4.mul(v128.load(sums), lowFactors);
    let high = f32x4.mul(v128.load(sums, 16), highFactors);
    if (adds) {
      low = f32x4.add(low, v128.load(to));
      high = f32x4.add(high, v128.load(to, 16));
    }
    v128.store(to, low);
    v128.store(to, high, 16);
    to += the.outPitch;
  }
}

function storePart(
  sums: usize,
  factors: usize,
  to: usize,
  bias: usize,
  residual: usize,
  rows: u32,
  bytes: usize,
  adds: bool,
): void {
  const whole = bytes & ~15;
  for (let row: u32 = 0; row < rows; row++) {
    let at: usize = 0;
    for (; at < whole; at += 16) {
      let value = f32x4.mul(v128.load(sums + at), v128.load(factors + at));
      if (bias) value = f32x4.add(value, v128.load(bias + at));
      if (residual) value = f32x4.add(value, v128.load(residual + at));
      if (adds) value = f32x4.add(value, v128.load(to + at));
      v128.store(to + at, value);
    }
    for (; at < bytes; at += 4) {
      let value = load<f32>(sums + at) * load<f32>(factors + at);
      if (bias) value += load<f32>(bias + at);
      if (residual) value += load<f32>(residual + at);
      if (adds) value += load<f32>(to + at);
      store<f32>(to + at, value);
    }
    sums += 32;
    to += the.outPitch;
    if (residual) residual += the.residualPitch;
  }
}
