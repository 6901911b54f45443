import type { RopeShape } from '../rope.ts';

/** The turned copy of x [rows, stride]; `frequencies` [rot / 2] in radians per position, `start` the first position. */
export function ropeReference(
  x: ArrayLike<number>,
  shape: RopeShape,
  frequencies: ArrayLike<number>,
  start = 0,
  inverse = false,
): Float64Array {
  const { rows, tokens, heads, headWidth, rot, offset = 0 } = shape;
  const stride = shape.stride ?? heads * headWidth;
  const out = Float64Array.from(x);
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      for (let j = 0; j < rot / 2; j++) {
        const angle = (start + (row % tokens)) * (frequencies[j] ?? Number.NaN) * (inverse ? -1 : 1);
        const at = row * stride + offset + head * headWidth + j;
        const a = x[at] ?? Number.NaN;
        const b = x[at + rot / 2] ?? Number.NaN;
        out[at] = a * Math.cos(angle) - b * Math.sin(angle);
        out[at + rot / 2] = b * Math.cos(angle) + a * Math.sin(angle);
      }
    }
  }
  return out;
}
