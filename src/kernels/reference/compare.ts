/**
 * What kernel tests share: the largest error against a reference, relative to the reference's size, and gradients by
 * central differences.
 */
export function worstError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let size = 0;
  for (let i = 0; i < want.length; i++) size = Math.max(size, Math.abs(at(want, i)));
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs(at(got, i) - at(want, i));
    if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, error);
  }
  return worst / Math.max(size, 1e-30);
}

/** The gradient of `loss` at `x` by central differences in f64; `x` is left as it was. */
export function centralDifferences(x: Float64Array, loss: () => number, step = 1e-5): Float64Array {
  return x.map((value, i) => {
    x[i] = value + step;
    const above = loss();
    x[i] = value - step;
    const below = loss();
    x[i] = value;
    return (above - below) / (2 * step);
  });
}

/** A buffer that must be written: every value a NaN. */
export function poisoned(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(count).fill(Number.NaN);
}

/** sum_i a[i] * b[i] */
export function dotProduct(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += at(a, i) * at(b, i);
  return sum;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
