/**
 * Functions of four f32 at once. Accuracy, in units of the last place against the exact value (`math.test.ts`): exp 1.01,
 * sigmoid 3, tanh 3, the normal distribution as in `activation.ts`. NaN gives NaN, infinities what they should. For a
 * single logarithm there is `Mathf.log`.
 */

/**
 * e^x = 2^n e^r with n the whole number nearest to x / ln 2, so that |r| < 0.347; ln 2 in two parts, of which the first
 * has so few digits that its product with n is exact. e^r = 1 + r + r² P(r), P fitted for least relative error (3e-9).
 * 2^n is multiplied in two halves: results below the least normal number are rounded once, like any other.
 *
 * n is found by adding 3·2^22, where neighbouring numbers are 1 apart: it is then also what the lower bits hold. `pmin` and
 * `pmax` are one instruction and, with x first, keep NaN.
 */
export function exp4(x: v128): v128 {
  const bounded = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89.0)), f32x4.splat(-104.0));
  const shifted = f32x4.add(f32x4.mul(bounded, f32x4.splat(Mathf.LOG2E)), f32x4.splat(12582912.0));
  const n = f32x4.sub(shifted, f32x4.splat(12582912.0));
  const coarse = f32x4.sub(bounded, f32x4.mul(n, f32x4.splat(0.69140625)));
  const r = f32x4.sub(coarse, f32x4.mul(n, f32x4.splat(0.001740930559945286)));
  let p = f32x4.add(f32x4.mul(r, f32x4.splat(0.0013814540579915047)), f32x4.splat(0.00836874544620514));
  p = f32x4.add(f32x4.mul(r, p), f32x4.splat(0.04166838899254799));
  p = f32x4.add(f32x4.mul(r, p), f32x4.splat(0.1666652113199234));
  p = f32x4.add(f32x4.mul(r, p), f32x4.splat(0.4999999403953552));
  p = f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r);
  p = f32x4.add(p, f32x4.splat(1.0));
  const whole = i32x4.sub(shifted, i32x4.splat(0x4b400000));
  const half = i32x4.shr_s(whole, 1);
  return f32x4.mul(f32x4.mul(p, powerOfTwo(half)), powerOfTwo(i32x4.sub(whole, half)));
}

/** 2^n of whole numbers -126 … 127. */
function powerOfTwo(n: v128): v128 {
  return i32x4.add(i32x4.shl(n, 23), i32x4.splat(0x3f800000));
}

/** The same as a lane of `exp4`, to the bit. */
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

/** 1 / (1 + e^-x); below -80, that of -80. */
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.pmin(f32x4.neg(x), f32x4.splat(80.0)))));
}

export function tanh4(x: v128): v128 {
  return tanhWith(x, tanhExp(x));
}

/** What `tanhWith` and `tanhSlopeWith` need of x: e^(-2|x|), which cannot overflow. */
export function tanhExp(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.abs(x), f32x4.splat(-2.0)));
}

/** tanh x; as a series below 0.3, where the quotient would cancel. */
export function tanhWith(x: v128, e: v128): v128 {
  const size = f32x4.abs(x);
  const s = f32x4.pmin(size, f32x4.splat(0.3));
  const q = f32x4.mul(s, s);
  let series = f32x4.add(f32x4.mul(q, f32x4.splat(-0.00886323553)), f32x4.splat(0.0218694885));
  series = f32x4.add(f32x4.mul(q, series), f32x4.splat(-0.053968254));
  series = f32x4.add(f32x4.mul(q, series), f32x4.splat(0.133333333));
  series = f32x4.add(f32x4.mul(q, series), f32x4.splat(-0.333333333));
  series = f32x4.add(f32x4.mul(f32x4.mul(q, series), s), s);
  const one = f32x4.splat(1.0);
  const quotient = f32x4.div(f32x4.sub(one, e), f32x4.add(one, e));
  const positive = v128.bitselect(series, quotient, f32x4.lt(size, f32x4.splat(0.3)));
  return v128.or(positive, v128.and(x, i32x4.splat(0x80000000)));
}

/** 1 − tanh² x, in a form that keeps its digits where it is small. */
export function tanhSlopeWith(e: v128): v128 {
  const sum = f32x4.add(e, f32x4.splat(1.0));
  return f32x4.div(f32x4.mul(e, f32x4.splat(4.0)), f32x4.mul(sum, sum));
}

/** cap · tanh(x / cap). */
export function softCap4(x: v128, cap: f32): v128 {
  const caps = f32x4.splat(cap);
  return f32x4.mul(caps, tanh4(f32x4.div(x, caps)));
}

/** The derivative of `softCap4`. */
export function softCapSlope4(x: v128, cap: f32): v128 {
  return tanhSlopeWith(tanhExp(f32x4.div(x, f32x4.splat(cap))));
}

/** One logit as the loss sees it; a cap of 0 is none. */
export function softCap1(x: f32, cap: f32): f32 {
  return cap > 0 ? f32x4.extract_lane(softCap4(f32x4.splat(x), cap), 0) : x;
}

/** The normal distribution Φ(x), by e^(-x²/2) erfcx(|x| / √2) / 2 as `activation.ts` says. */
export function normal4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  const whole = f32x4.div(one, f32x4.add(one, f32x4.mul(f32x4.abs(x), f32x4.splat(0.35355339059))));
  const t = f32x4.sub(whole, f32x4.splat(0.5));
  let p = f32x4.add(f32x4.mul(t, f32x4.splat(0.0138530746)), f32x4.splat(-0.0692829838));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.0463760218));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.0976895326));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(-0.102985191));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(-0.172043147));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.145745247));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.558943486));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.687160904));
  p = f32x4.add(f32x4.mul(t, p), f32x4.splat(0.510791355));
  const density = exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
  const tail = f32x4.mul(f32x4.mul(f32x4.mul(density, f32x4.splat(0.5)), whole), p);
  return v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(x, f32x4.splat(0.0)));
}

export function finite(x: f32): bool {
  return abs(x) < Infinity;
}
