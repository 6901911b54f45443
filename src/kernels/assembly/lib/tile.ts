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
 * Brings `rows` x `columns` sums (rows of 8) to out[i, j]. `factors` are those of its columns;
 * only the first part of a sum meets bias and residual, the others are added to it.
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
  const bias = first && the.bias !== 0 ? the.bias + ((<usize>j) << 2) : 0;
  const adds = the.accumulate || !first;
  let residual = first && the.residual !== 0 ? the.residual + the.residualPitch * i + ((<usize>j) << 2) : 0;
  let to = the.out + the.outPitch * i + ((<usize>j) << 2);
  const whole: usize = (columns & ~3) << 2;
  const end: usize = columns << 2;
  for (let row: u32 = 0; row < rows; row++) {
    const scale: f32 = the.product === the.TN ? the.factorOf(i + row) : 1;
    let at: usize = 0;
    for (; at < whole; at += 16) {
      const value = f32x4.mul(v128.load(sums + at), v128.load(factors + at));
      storeFour(
        to + at,
        f32x4.mul(value, f32x4.splat(scale)),
        bias && bias + at,
        residual && residual + at,
        adds,
      );
    }
    for (; at < end; at += 4) {
      let value = load<f32>(sums + at) * load<f32>(factors + at) * scale;
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

function storeFour(to: usize, value: v128, bias: usize, residual: usize, adds: bool): void {
  if (bias) value = f32x4.add(value, v128.load(bias));
  if (residual) value = f32x4.add(value, v128.load(residual));
  if (adds) value = f32x4.add(value, v128.load(to));
  v128.store(to, value);
}
