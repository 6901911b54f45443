/**
 * Rotary position embedding (Su et al. 2021, eq. 34) in the half-split layout of the Hugging Face checkpoints: of the
 * first `rot` elements of every head, the pairs (j, j + rot / 2) are turned by the angle position * frequency[j], in
 * place. The backward pass is the inverse turn. WGSL's cos and sin are too coarse for long contexts, so the angles
 * come from a table made on the host.
 */
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../gpu/kernel.ts';

export type RopeScaling =
  /** Position interpolation: every frequency is divided by `factor`. */
  | { readonly kind: 'linear'; readonly factor: number }
  /**
   * Llama 3: wavelengths above originalPositions / lowFrequencyFactor are stretched by `factor`, those below
   * originalPositions / highFrequencyFactor are kept, the ones between are blended.
   */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    };

export interface RopeTableSpec {
  readonly theta: number;
  /** Rotated elements of a head; even. */
  readonly rot: number;
  /** The divisor of the exponent; `rot` where left out. */
  readonly dim?: number;
  /** Rows of the table: the longest context. */
  readonly positions: number;
  readonly scaling?: RopeScaling;
}

/**
 * Angles per position, [rot / 2], rounded to f32 as PyTorch keeps them: checkpoints are trained with that rounding, and
 * at position 10^4 it moves an angle by up to 6e-4.
 */
export function ropeFrequencies({
  theta,
  rot,
  dim = rot,
  scaling,
}: Omit<RopeTableSpec, 'positions'>): Float32Array {
  return Float32Array.from({ length: rot / 2 }, (_, j) => {
    const plain = Math.fround(1 / Math.fround(theta ** Math.fround((2 * j) / dim)));
    return scaling ? scaled(plain, scaling) : plain;
  });
}

function scaled(frequency: number, scaling: RopeScaling): number {
  if (scaling.kind === 'linear') return frequency / scaling.factor;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalPositions } = scaling;
  const turns = (originalPositions * frequency) / (2 * Math.PI);
  if (turns < lowFrequencyFactor) return frequency / factor;
  if (turns > highFrequencyFactor) return frequency;
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - kept) * frequency) / factor + kept * frequency;
}

/** Table [positions, rot / 2, 2] of (cos, sin), computed in f64 from f32 angles. */
export function ropeTable(spec: RopeTableSpec): Float32Array<ArrayBuffer> {
  const frequencies = ropeFrequencies(spec);
  const table = new Float32Array(spec.positions * spec.rot);
  let at = 0;
  for (let position = 0; position < spec.positions; position++) {
    for (const frequency of frequencies) {
      const angle = Math.fround(position * frequency);
      table[at++] = Math.cos(angle);
      table[at++] = Math.sin(angle);
    }
  }
  return table;
}

const THREADS = 128;

function ropeKernel(cached: boolean): Kernel {
  const state: Record<string, BufferSpec> = cached ? { state: read('u32') } : {};
  return defineKernel<string, string>({
    name: `rope${cached ? '.cached' : ''}`,
    buffers: { table: read('vec2<f32>'), ...state, x: write('f32') },
    params: {
      rows: 'u32',
      tokens: 'u32',
      heads: 'u32',
      headWidth: 'u32',
      half: 'u32',
      stride: 'u32',
      offset: 'u32',
      sign: 'f32',
    },
    code: `${LINEAR_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = linear_group(group) * ${THREADS}u + lane;
  let j = i % params.half;
  let head = (i / params.half) % params.heads;
  let row = i / (params.half * params.heads);
  if (row >= params.rows) { return; }
  let position = row % params.tokens${cached ? ' + state[0]' : ''};
  let turn = table[position * params.half + j] * vec2<f32>(1.0, params.sign);
  let at = row * params.stride + params.offset + head * params.headWidth + j;
  let a = x[at];
  let b = x[at + params.half];
  x[at] = a * turn.x - b * turn.y;
  x[at + params.half] = b * turn.x + a * turn.y;
}`,
  });
}

export interface RopeShape {
  /** Rows of x: B * T. */
  readonly rows: number;
  /** T: row r stands at position r % tokens (+ state[0]). */
  readonly tokens: number;
  readonly heads: number;
  /** Elements of a head, at least `rot`. */
  readonly headWidth: number;
  readonly rot: number;
  /** Elements from one row of x to the next; heads * headWidth where left out. */
  readonly stride?: number;
  /** Elements before the first head of a row. */
  readonly offset?: number;
}

/**
 * Turns x [rows, stride] in place; `inverse` turns back (the gradient). `table` comes from `ropeTable` and must hold
 * every position. With `state` (u32), state[0] is the position of row 0 (a KV cache).
 */
export function rope<B>(
  { x, table, state }: { x: B; table: B; state?: B },
  shape: RopeShape,
  inverse = false,
): Dispatch<B> {
  const { rows, tokens, heads, headWidth, rot } = shape;
  const half = rot / 2;
  return dispatch<string, string, B>(
    ropeKernel(state !== undefined),
    state === undefined ? { table, x } : { table, state, x },
    {
      rows,
      tokens,
      heads,
      headWidth,
      half,
      stride: shape.stride ?? heads * headWidth,
      offset: shape.offset ?? 0,
      sign: inverse ? -1 : 1,
    },
    linearGrid(Math.ceil((rows * heads * half) / THREADS)),
  );
}
