/**
 * Rotary position embedding (Su et al. 2021, eq. 34) in the half-split layout of the Hugging Face checkpoints: of the
 * first `rot` elements of every head, the pairs (j, j + rot / 2) are turned by the angle position * frequency[j], in
 * place. The backward pass is the inverse turn. WGSL's cos and sin are too coarse for long contexts, so the angles
 * come from a table made on the host (`ropeFrequencies.ts`).
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
} from '../device/kernel.ts';

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
    wasm: { name: 'rope', constants: [cached ? 1 : 0], pieces: ({ rows = 0 }) => rows },
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
