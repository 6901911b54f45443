import type { AdamwSettings } from '../adamw.ts';

/** One AdamW step in double precision, in place: w, m, v [n]; g [n] is multiplied by `gradScale` first. */
export function adamwReference(
  state: { w: Float64Array; m: Float64Array; v: Float64Array },
  g: ArrayLike<number>,
  settings: AdamwSettings,
  gradScale = 1,
): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = settings;
  const { w, m, v } = state;
  for (let i = 0; i < w.length; i++) {
    const gradient = gradScale * (g[i] ?? 0);
    const m1 = beta1 * (m[i] ?? 0) + (1 - beta1) * gradient;
    const v1 = beta2 * (v[i] ?? 0) + (1 - beta2) * gradient * gradient;
    const direction = m1 / (1 - beta1 ** step) / (Math.sqrt(v1 / (1 - beta2 ** step)) + epsilon);
    m[i] = m1;
    v[i] = v1;
    w[i] = (w[i] ?? 0) * (1 - learningRate * weightDecay) - learningRate * direction;
  }
}
