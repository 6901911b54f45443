/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 1711.05101) over flat f32 arrays of one length: an arena
 * of all trainable parameters is one dispatch. Hyper-parameters and the clip factor come from buffers, so a recorded
 * step is replayed with new values:
 *
 *   g' = gradScale[0]·g;  m ← β₁m + (1−β₁)g';  v ← β₂v + (1−β₂)g'²
 *   w ← w·(1 − lr·decay) − lr · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
 *
 * A clip factor of exactly 0 means that the gradient was not finite (see gradientNorm.ts): then nothing changes.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { elementGrid, elementsInWasm, forEachElement } from './elementwise.ts';

const adamwKernel = defineKernel({
  name: 'adamw',
  buffers: {
    w: write('f32'),
    g: read('f32'),
    m: write('f32'),
    v: write('f32'),
    hyper: read('f32'),
    gradScale: read('f32'),
  },
  params: { count: 'u32' },
  code: forEachElement(`
    let scale = gradScale[0];
    if (scale == 0.0) { return; }
    let gradient = scale * g[i];
    let m1 = hyper[1] * m[i] + (1.0 - hyper[1]) * gradient;
    let v1 = hyper[2] * v[i] + hyper[7] * gradient * gradient;
    m[i] = m1;
    v[i] = v1;
    let direction = (m1 / hyper[5]) / (sqrt(v1 / hyper[6]) + hyper[3]);
    w[i] = w[i] * (1.0 - hyper[0] * hyper[4]) - hyper[0] * direction;
  `),
  wasm: elementsInWasm('adamw'),
});

/** What an AdamW step takes from the recipe and the schedule; `step` counts from 1. */
export interface AdamwSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
}

/**
 * The contents of the `hyper` buffer for one step: f32 [8] = (lr, β₁, β₂, ε, decay, 1−β₁ᵗ, 1−β₂ᵗ, 1−β₂). The
 * corrections are computed in double precision, because 1−β₂ᵗ loses its digits in single precision at small t.
 */
export function adamwHyper(settings: AdamwSettings): Float32Array<ArrayBuffer> {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = settings;
  return Float32Array.of(
    learningRate,
    beta1,
    beta2,
    epsilon,
    weightDecay,
    -Math.expm1(step * Math.log(beta1)),
    -Math.expm1(step * Math.log(beta2)),
    1 - beta2,
  );
}

/**
 * One step in place.
 * @param buffers w, g, m, v f32 [count] (m and v zero before the first step), `hyper` of `adamwHyper`, `gradScale` of
 * `clipScale` (or a single 1).
 */
export function adamw<B>(
  buffers: { w: B; g: B; m: B; v: B; hyper: B; gradScale: B },
  count: number,
): Dispatch<B> {
  return dispatch(adamwKernel, buffers, { count }, elementGrid(count));
}
