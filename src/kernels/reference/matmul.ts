/** Plain matrix products in f64, the measure of the kernels in `matmul.ts`. Arguments are named as there. */
export interface ReferenceOptions {
  readonly bias?: Float32Array;
  readonly residual?: Float32Array;
  /** Factors of the columns n, already spread to length N. */
  readonly columnScale?: Float32Array;
  readonly alpha?: number;
}

/** Y[m, n] = columnScale[n] * sum_k X[m, k] W[n, k] + bias[n] + residual[m, n]. */
export function matmulNTReference(
  x: Float32Array,
  w: Float32Array,
  m: number,
  n: number,
  k: number,
  { bias, residual, columnScale }: ReferenceOptions = {},
): Float64Array {
  const y = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (x[row * k + i] ?? 0) * (w[col * k + i] ?? 0);
      y[row * n + col] =
        sum * (columnScale?.[col] ?? 1) + (bias?.[col] ?? 0) + (residual?.[row * n + col] ?? 0);
    }
  }
  return y;
}

/** dX[m, k] = sum_n columnScale[n] dY[m, n] W[n, k]. */
export function matmulNNReference(
  dy: Float32Array,
  w: Float32Array,
  m: number,
  n: number,
  k: number,
  { columnScale }: ReferenceOptions = {},
): Float64Array {
  const dx = new Float64Array(m * k);
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      const factor = (dy[row * n + col] ?? 0) * (columnScale?.[col] ?? 1);
      for (let i = 0; i < k; i++) dx[row * k + i] = (dx[row * k + i] ?? 0) + factor * (w[col * k + i] ?? 0);
    }
  }
  return dx;
}

/** dW[n, k] = alpha * columnScale[n] * sum_m dY[m, n] X[m, k]. */
export function matmulTNReference(
  dy: Float32Array,
  x: Float32Array,
  m: number,
  n: number,
  k: number,
  { columnScale, alpha = 1 }: ReferenceOptions = {},
): Float64Array {
  const dw = new Float64Array(n * k);
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      const factor = alpha * (dy[row * n + col] ?? 0) * (columnScale?.[col] ?? 1);
      for (let i = 0; i < k; i++) dw[col * k + i] = (dw[col * k + i] ?? 0) + factor * (x[row * k + i] ?? 0);
    }
  }
  return dw;
}

/** db[n] = sum_m dY[m, n]. */
export function columnSumsReference(dy: Float32Array, m: number, n: number): Float64Array {
  const sums = new Float64Array(n);
  for (let i = 0; i < m * n; i++) sums[i % n] = (sums[i % n] ?? 0) + (dy[i] ?? 0);
  return sums;
}
