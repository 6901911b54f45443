/** Activations z · gate(z) of four numbers, as `activation.ts` defines them and in the order of its list. */
import { exp4, normal4, sigmoid4 } from './math';

const SILU: u32 = 0;
const GELU_TANH: u32 = 1;
const GELU: u32 = 2;
const GELU_QUICK: u32 = 3;
const RELU: u32 = 4;

/** 2 sqrt(2 / pi), and its product with 0.044715. */
const LINEAR: f32 = 1.5957691216057308;
const CUBIC: f32 = 0.07135481282804397;
const QUICK: f32 = 1.702;

export function gate4(kind: u32, value: v128): v128 {
  if (kind >= RELU) return kind === RELU ? positive(value) : f32x4.pmax(value, f32x4.splat(0));
  const z = bounded(value);
  if (kind === SILU) return sigmoid4(z);
  if (kind === GELU) return normal4(z);
  if (kind === GELU_QUICK) return sigmoid4(f32x4.mul(z, f32x4.splat(QUICK)));
  const grown = f32x4.mul(f32x4.mul(f32x4.splat(CUBIC), z), z);
  return sigmoid4(f32x4.mul(z, f32x4.add(f32x4.splat(LINEAR), grown)));
}

/** The derivative of the gate; `s` is `gate4` of the same. */
export function gateSlope4(kind: u32, value: v128, s: v128): v128 {
  if (kind >= RELU) return kind === RELU ? f32x4.splat(0) : positive(value);
  const z = bounded(value);
  const square = f32x4.mul(z, z);
  if (kind === GELU) {
    return f32x4.mul(f32x4.splat(0.3989422804), exp4(f32x4.mul(square, f32x4.splat(-0.5))));
  }
  const slope = f32x4.mul(s, f32x4.sub(f32x4.splat(1), s));
  if (kind === GELU_TANH) {
    const inner = f32x4.add(f32x4.splat(LINEAR), f32x4.mul(square, f32x4.splat(3 * CUBIC)));
    return f32x4.mul(slope, inner);
  }
  return kind === SILU ? slope : f32x4.mul(slope, f32x4.splat(QUICK));
}

/** 1 above 0, else 0. */
function positive(value: v128): v128 {
  return v128.and(f32x4.gt(value, f32x4.splat(0)), f32x4.splat(1));
}

function bounded(value: v128): v128 {
  return f32x4.pmax(f32x4.pmin(value, f32x4.splat(1e4)), f32x4.splat(-1e4));
}
