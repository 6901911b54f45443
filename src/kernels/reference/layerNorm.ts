/** Rows of x normed to mean 0 and variance 1, times w, plus b and residual where given; with mean and rstd of each row. */
export function layerNormReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  { b, residual }: { b?: ArrayLike<number>; residual?: ArrayLike<number> } = {},
): { y: Float64Array; stats: Float64Array } {
  const width = w.length;
  const rows = x.length / width;
  const y = new Float64Array(x.length);
  const stats = new Float64Array(2 * rows);
  for (let row = 0; row < rows; row++) {
    const { mean, rstd } = momentsOf(x, row, width, eps);
    stats.set([mean, rstd], 2 * row);
    for (let j = 0; j < width; j++) {
      const at = row * width + j;
      y[at] = (of(x, at) - mean) * rstd * of(w, j) + (b ? of(b, j) : 0) + (residual ? of(residual, at) : 0);
    }
  }
  return { y, stats };
}

/** Gradients of x, w and b. */
export function layerNormBackwardReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  dy: ArrayLike<number>,
): { dx: Float64Array; dw: Float64Array; db: Float64Array } {
  const width = w.length;
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(width);
  const db = new Float64Array(width);
  for (let row = 0; row < x.length / width; row++) {
    const { mean, rstd } = momentsOf(x, row, width, eps);
    let sum = 0;
    let dot = 0;
    for (let j = 0; j < width; j++) {
      const at = row * width + j;
      const unit = (of(x, at) - mean) * rstd;
      sum += of(dy, at) * of(w, j);
      dot += of(dy, at) * of(w, j) * unit;
      dw[j] = of(dw, j) + of(dy, at) * unit;
      db[j] = of(db, j) + of(dy, at);
    }
    for (let j = 0; j < width; j++) {
      const at = row * width + j;
      const unit = (of(x, at) - mean) * rstd;
      dx[at] = rstd * (of(dy, at) * of(w, j) - sum / width - (unit * dot) / width);
    }
  }
  return { dx, dw, db };
}

function momentsOf(x: ArrayLike<number>, row: number, width: number, eps: number) {
  let mean = 0;
  for (let j = 0; j < width; j++) mean += of(x, row * width + j) / width;
  let variance = 0;
  for (let j = 0; j < width; j++) variance += (of(x, row * width + j) - mean) ** 2 / width;
  return { mean, rstd: 1 / Math.sqrt(variance + eps) };
}

function of(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
