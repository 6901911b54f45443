/**
 * What happens to q, k and v between their products and attention with a cache, in one dispatch: q is turned in place, k is
 * turned into its cache, v is copied. The same as `rope` on q and on k and `cacheWrite`; see there.
 *
 * One thread a pair of elements: those of q, then of k (the elements of a head past the turned ones come as pairs that
 * stay), then of v.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  LINEAR_GROUP,
  linearGrid,
  read,
  write,
} from '../device/kernel.ts';

const THREADS = 64;

const kernel = defineKernel({
  name: 'rope.intoCache',
  buffers: {
    table: read('vec2<f32>'),
    state: read('u32'),
    q: write('f32'),
    k: read('f32'),
    v: read('f32'),
    kCache: write('f32'),
    vCache: write('f32'),
  },
  params: { tokens: 'u32', heads: 'u32', kvHeads: 'u32', headWidth: 'u32', half: 'u32', capacity: 'u32' },
  code: `${LINEAR_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pairs = params.headWidth / 2u;
  let thread = linear_group(group) * ${THREADS}u + lane;
  let slots = params.heads + 2u * params.kvHeads;
  let j = thread % pairs;
  let slot = (thread / pairs) % slots;
  let row = thread / (pairs * slots);
  if (row >= params.tokens) { return; }
  let place = state[0] + row;
  let kept = row < state[1] && place < params.capacity;
  let turned = j < params.half;
  // A pair: (j, j + half) of those that are turned, neighbours of the others.
  let first = select(2u * j, j, turned);
  let second = select(2u * j + 1u, j + params.half, turned);
  let turn = table[place * params.half + min(j, params.half - 1u)];
  let cos = select(1.0, turn.x, turned);
  let sin = select(0.0, turn.y, turned);
  if (slot < params.heads) {
    let at = (row * params.heads + slot) * params.headWidth;
    let a = q[at + first];
    let b = q[at + second];
    q[at + first] = a * cos - b * sin;
    q[at + second] = b * cos + a * sin;
    return;
  }
  if (!kept) { return; }
  let head = (slot - params.heads) % params.kvHeads;
  let at = (row * params.kvHeads + head) * params.headWidth;
  let into = (place * params.kvHeads + head) * params.headWidth;
  if (slot < params.heads + params.kvHeads) {
    let a = k[at + first];
    let b = k[at + second];
    kCache[into + first] = a * cos - b * sin;
    kCache[into + second] = b * cos + a * sin;
    return;
  }
  vCache[into + first] = v[at + first];
  vCache[into + second] = v[at + second];
}`,
  wasm: { name: 'ropeIntoCache', pieces: ({ tokens }) => tokens },
});

export interface RopeIntoCacheShape {
  /** New rows: those from state[1] on are padding. */
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Elements of a head, even. */
  readonly headWidth: number;
  /** Half of the turned elements of a head. */
  readonly half: number;
  /** Rows of the caches. */
  readonly capacity: number;
}

/**
 * @param buffers table (cos, sin) [positions, half]; state u32 [position of row 0, valid rows]; q f32 [tokens, heads *
 * headWidth], turned in place; k, v f32 [tokens, kvHeads * headWidth]; caches f32 [capacity, kvHeads * headWidth]
 */
export function ropeIntoCache<B>(
  buffers: { table: B; state: B; q: B; k: B; v: B; kCache: B; vCache: B },
  shape: RopeIntoCacheShape,
): Dispatch<B> {
  const { tokens, heads, kvHeads, headWidth, half, capacity } = shape;
  const { table, state, q, k, v, kCache, vCache } = buffers;
  const pairs = tokens * (heads + 2 * kvHeads) * (headWidth / 2);
  return dispatch(
    kernel,
    { table, state, q, k, v, kCache, vCache },
    { tokens, heads, kvHeads, headWidth, half, capacity },
    linearGrid(Math.ceil(pairs / THREADS)),
  );
}
