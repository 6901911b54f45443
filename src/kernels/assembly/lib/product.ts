/**
 * The matrix product at hand: out[i, j] = Σ_r left(i, r) right(j, r), as `matmulOperand.ts` describes it. What the slots
 * hold is kept in globals, of which every thread has its own.
 */
import { address, real, whole } from './slots';

export const NT: u32 = 0;
export const NN: u32 = 1;
export const TN: u32 = 2;

/** NT, NN or TN. */
export let product: u32 = 0;
/** Bits of an element of the right operand: 32 and 16 are floats, 8 and 4 codes of an affine format. */
export let bits: u32 = 32;
/** Codes that share a (scale, minimum) pair, and whether that is two f32 rather than two f16. */
export let group: u32 = 32;
export let widePairs: bool = false;

export let left: usize = 0;
export let right: usize = 0;
export let pairs: usize = 0;
export let out: usize = 0;
/** 0 where there is none. */
export let bias: usize = 0;
export let residual: usize = 0;
export let columnScale: usize = 0;

export let iCount: u32 = 0;
export let jCount: u32 = 0;
export let rCount: u32 = 0;
/** Bytes from one row of an operand to the next. */
export let leftPitch: usize = 0;
export let rightPitch: usize = 0;
export let pairPitch: usize = 0;
export let outPitch: usize = 0;
export let residualPitch: usize = 0;
export let scaleGroup: u32 = 1;
export let accumulate: bool = false;
export let alpha: f32 = 1;

/** Constants: product, bits, group, wide pairs?, column scale?, bias?, residual? */
const CONSTANTS: u32 = 7;

export function readProduct(slots: usize): void {
  product = whole(slots, 0);
  bits = whole(slots, 1);
  group = whole(slots, 2);
  widePairs = whole(slots, 3) !== 0;
  let slot = CONSTANTS;
  left = address(slots, slot++);
  right = address(slots, slot++);
  pairs = bits < 16 ? address(slots, slot++) : 0;
  columnScale = whole(slots, 4) !== 0 ? address(slots, slot++) : 0;
  bias = whole(slots, 5) !== 0 ? address(slots, slot++) : 0;
  residual = whole(slots, 6) !== 0 ? address(slots, slot++) : 0;
  out = address(slots, slot++);
  readParams(slots + (slot << 2));
}

/** `MATMUL_PARAMS`, in their order. */
function readParams(params: usize): void {
  iCount = whole(params, 0);
  jCount = whole(params, 1);
  rCount = whole(params, 2);
  leftPitch = (<usize>whole(params, 3)) << 2;
  left += (<usize>whole(params, 4)) << 2;
  rightPitch = (<usize>whole(params, 5)) << 2;
  // Columns of wider rows are for f32 alone: packed words are read from the first on.
  if (bits === 32) right += (<usize>whole(params, 6)) << 2;
  pairPitch = (<usize>whole(params, 7)) << (widePairs ? 3 : 2);
  outPitch = (<usize>whole(params, 8)) << 2;
  out += (<usize>whole(params, 9)) << 2;
  residualPitch = (<usize>whole(params, 10)) << 2;
  residual = residualPitch === 0 ? 0 : residual + ((<usize>whole(params, 11)) << 2);
  columnScale = columnScale === 0 ? 0 : columnScale + ((<usize>whole(params, 12)) << 2);
  scaleGroup = whole(params, 13);
  accumulate = whole(params, 14) !== 0;
  alpha = real(params, 15);
}

/** The factor of column n of the product Y = X Wᵀ. */
export function factorOf(n: u32): f32 {
  return columnScale === 0 ? 1 : load<f32>(columnScale + ((<usize>n / scaleGroup) << 2));
}
