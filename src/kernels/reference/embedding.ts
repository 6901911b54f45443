/** y [rows, width] = scale * table[token], in f64. */
export function embeddingReference(
  table: ArrayLike<number>,
  width: number,
  tokens: ArrayLike<number>,
  scale: number,
): Float64Array {
  return Float64Array.from({ length: tokens.length * width }, (_, i) => {
    const token = tokens[Math.floor(i / width)] ?? Number.NaN;
    return scale * (table[token * width + (i % width)] ?? Number.NaN);
  });
}

/** The gradient [vocabulary, width] of the table. */
export function embeddingBackwardReference(
  dy: ArrayLike<number>,
  width: number,
  tokens: ArrayLike<number>,
  vocabulary: number,
  scale: number,
): Float64Array {
  const dw = new Float64Array(vocabulary * width);
  for (let i = 0; i < dy.length; i++) {
    const at = (tokens[Math.floor(i / width)] ?? Number.NaN) * width + (i % width);
    dw[at] = (dw[at] ?? Number.NaN) + scale * (dy[i] ?? Number.NaN);
  }
  return dw;
}
