/**
 * The pointwise functions of feed-forward blocks, all written as z · gate(z):
 *   silu:         sigmoid(z)                                            (Elfwing et al. 2018)
 *   gelu:         Φ(z), the normal distribution                         (Hendrycks & Gimpel 2016)
 *   gelu_tanh:    (1 + tanh(sqrt(2/pi) · (z + 0.044715 z^3))) / 2 = sigmoid of twice the argument: written so, the left
 *                 tail loses no digits to 1 + tanh
 *   gelu_quick:   sigmoid(1.702 z)
 *   relu:         1 above 0;  relu_squared: z above 0
 * Exponents are clamped, so that every finite input gives a finite output and derivative (relu_squared: below 1e19).
 *
 * Φ comes from exp(-z²/2) · erfcx(|z|/√2) / 2, the left tail to a few units in the last place, the right one as 1 minus
 * that; erfcx(x) = t · P(t) with t = 1 / (1 + x/2) and a polynomial of degree 9 fitted for least relative error (1.8e-8
 * on 0 … 9.5; about 3e-7 in f32 with its roundings).
 */
const ACTIVATIONS = ['silu', 'gelu_tanh', 'gelu', 'gelu_quick', 'relu', 'relu_squared'] as const;

export type Activation = (typeof ACTIVATIONS)[number];

/** What kernels in WASM call it: see `assembly/lib/gate.ts`. */
export function activationNumber(activation: Activation): number {
  return ACTIVATIONS.indexOf(activation);
}

/** 2 * sqrt(2 / pi), and its product with 0.044715. */
const GELU_LINEAR = 1.5957691216057308;
const GELU_CUBIC = 0.07135481282804397;

/** Coefficients of P in powers of t − 1/2. */
const ERFCX = [
  0.510791355, 0.687160904, 0.558943486, 0.145745247, -0.172043147, -0.102985191, 0.0976895326, 0.0463760218,
  -0.0692829838, 0.0138530746,
];

const NORMAL = `
fn normal_distribution(z: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.35355339059 * abs(z)) - 0.5;
  let tail = 0.5 * exp(-0.5 * z * z) * (t + 0.5) * (${ERFCX.reduceRight((inner, c) => (inner === '' ? `${c}` : `${c} + t * (${inner})`), '')});
  return select(1.0 - tail, tail, z < 0.0);
}`;

function sigmoidGate(logit: string, slope: string): { value: string; slope: string } {
  return { value: `sigmoid(${logit})`, slope: `s * (1.0 - s) * (${slope})` };
}

const GATES: Readonly<Record<Activation, { value: string; slope: string }>> = {
  silu: sigmoidGate('z', '1.0'),
  gelu_tanh: sigmoidGate(
    `z * (${GELU_LINEAR} + ${GELU_CUBIC} * z * z)`,
    `${GELU_LINEAR} + ${3 * GELU_CUBIC} * z * z`,
  ),
  gelu_quick: sigmoidGate('1.702 * z', '1.702'),
  gelu: { value: 'normal_distribution(z)', slope: '0.3989422804 * exp(-0.5 * z * z)' },
  relu: { value: 'select(0.0, 1.0, value > 0.0)', slope: '0.0' },
  relu_squared: { value: 'max(value, 0.0)', slope: 'select(0.0, 1.0, value > 0.0)' },
};

/** WGSL: `gate(z)` and its derivative `gate_slope(z, gate(z))`; the function is z · gate(z). */
export function gateWgsl(activation: Activation): string {
  const { value, slope } = GATES[activation];
  return `
fn sigmoid(k: f32) -> f32 { return 1.0 / (1.0 + exp(min(-k, 80.0))); }${activation === 'gelu' ? NORMAL : ''}
fn gate(value: f32) -> f32 {
  let z = clamp(value, -1e4, 1e4);
  return ${value};
}
fn gate_slope(value: f32, s: f32) -> f32 {
  let z = clamp(value, -1e4, 1e4);
  return ${slope};
}`;
}
