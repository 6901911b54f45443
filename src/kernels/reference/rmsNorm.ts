/** RMS norm in f64 over plain arrays: what the kernels of `rmsNorm.ts` are compared with. */
export interface RmsNormReference {
  readonly y: Float64Array;
  readonly rstd: Float64Array;
}

/** x [rows, width], w [width], residual [rows, width] or none. */
export function rmsNormReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  offset: number,
  residual?: ArrayLike<number>,
): RmsNormReference {
  const width = w.length;
  const rows = x.length / width;
  const y = new Float64Array(x.length);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let squares = 0;
    for (let j = 0; j < width; j++) squares += at(x, r * width + j) ** 2;
    const scale = 1 / Math.sqrt(squares / width + eps);
    rstd[r] = scale;
    for (let j = 0; j < width; j++) {
      const i = r * width + j;
      y[i] = at(x, i) * scale * (at(w, j) + offset) + (residual ? at(residual, i) : 0);
    }
  }
  return { y, rstd };
}

/** dx [rows, width] and dw [width] for the gradient dy of y. */
export function rmsNormBackwardReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  offset: number,
  dy: ArrayLike<number>,
): { dx: Float64Array; dw: Float64Array } {
  const width = w.length;
  const { rstd } = rmsNormReference(x, w, eps, offset);
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(width);
  rstd.forEach((scale, r) => {
    let dot = 0;
    for (let j = 0; j < width; j++) {
      const i = r * width + j;
      dot += at(dy, i) * (at(w, j) + offset) * at(x, i);
      dw[j] = at(dw, j) + at(dy, i) * at(x, i) * scale;
    }
    const pull = (dot * scale * scale) / width;
    for (let j = 0; j < width; j++) {
      const i = r * width + j;
      dx[i] = scale * (at(dy, i) * (at(w, j) + offset) - at(x, i) * pull);
    }
  });
  return { dx, dw };
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
