/** From products of queries and keys to scores, their weights and gradients; see `src/kernels/attentionScore.ts`. */
import { exp4, softCap4 } from './math';

/** Below every score, yet far from overflow when subtracted. */
export const LOWEST: f32 = -1e30;

/** cap * tanh(scale * product / cap), or scale * product where cap is 0. */
export function score(product: v128, scale: f32, cap: f32): v128 {
  const scaled = f32x4.mul(product, f32x4.splat(scale));
  return cap > 0 ? softCap4(scaled, cap) : scaled;
}

/** The derivative of `score`, from what it gave. */
export function slope(scored: v128, scale: f32, cap: f32): v128 {
  if (!(cap > 0)) return f32x4.splat(scale);
  const t = f32x4.div(scored, f32x4.splat(cap));
  return f32x4.mul(f32x4.sub(f32x4.splat(1), f32x4.mul(t, t)), f32x4.splat(scale));
}

/** Numbers first … first + 3. */
export function places(first: u32): v128 {
  return i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
}

/** How far a query may see, as a number that no distance reaches where there is no window. */
export function reachOf(window: u32): u32 {
  return window > 0 ? window : 0x80000000;
}

/** Where keys lie 0 … reach - 1 before their query; a key behind it is far away as a number without sign. */
export function sees(queries: v128, keys: v128, reach: v128): v128 {
  return i32x4.lt_u(i32x4.sub(queries, keys), reach);
}

/** The probability from the raw product and the log-sum-exp of its row, and the gradient of the raw product. */
export function putGradients(
  product: usize,
  gradient: usize,
  lse: v128,
  delta: v128,
  seen: v128,
  scale: f32,
  cap: f32,
): void {
  const scored = score(v128.load(product), scale, cap);
  const beyond = f32x4.min(f32x4.sub(scored, lse), f32x4.splat(0));
  const probability = v128.and(exp4(beyond), seen);
  const pulled = f32x4.mul(f32x4.sub(v128.load(gradient), delta), slope(scored, scale, cap));
  v128.store(product, probability);
  v128.store(gradient, v128.and(f32x4.mul(pulled, probability), seen));
}
