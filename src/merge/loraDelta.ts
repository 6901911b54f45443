/** Factors of one adapted matrix: δ = scale · B A with A [rank, inputs] and B [outputs, rank], row-major. */
export interface LoraFactors {
  readonly rank: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  /** α / rank */
  readonly scale: number;
}

/** The delta as a matrix [outputs, inputs] (methods D.5): merging the factors themselves is not the same. */
export function loraDelta({ rank, inputs, outputs, a, b, scale }: LoraFactors): Float32Array {
  const delta = new Float32Array(outputs * inputs);
  const row = new Float64Array(inputs);
  for (let out = 0; out < outputs; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * (b[out * rank + r] ?? 0);
      if (factor === 0) continue;
      const from = r * inputs;
      for (let at = 0; at < inputs; at++) row[at] = (row[at] ?? 0) + factor * (a[from + at] ?? 0);
    }
    delta.set(row, out * inputs);
  }
  return delta;
}
