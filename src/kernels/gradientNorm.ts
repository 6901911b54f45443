/**
 * The global norm of several gradient arenas and the factor that clips it. Sums are in a fixed order, so a replay
 * gives the same bits. Two stages: at most 256 groups a gradient write partial sums, one group adds them up.
 */
import { type Dispatch, defineKernel, dispatch, read, unfolded, write } from '../device/kernel.ts';

const THREADS = 256;
const GROUPS = 256;
const PER_GROUP = THREADS * 8;

/** WGSL: `group_sum(lane, x)` = Σ x over the group's 256 threads, the same on all of them. */
export const GROUP_SUM = `
var<workgroup> group_terms: array<f32, ${THREADS}>;
fn group_sum(lane: u32, x: f32) -> f32 {
  group_terms[lane] = x;
  workgroupBarrier();
  for (var width = ${unfolded(THREADS / 2)}; width > 0u; width >>= 1u) {
    if (lane < width) { group_terms[lane] += group_terms[lane + width]; }
    workgroupBarrier();
  }
  let total = group_terms[0];
  workgroupBarrier();
  return total;
}
`;

const squaresKernel = defineKernel({
  name: 'gradientNorm.squares',
  buffers: { g: read('f32'), partials: write('f32') },
  params: { count: 'u32', groups: 'u32', at: 'u32' },
  code: `${GROUP_SUM}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = group.x * ${THREADS}u + lane; i < params.count; i += params.groups * ${THREADS}u) {
    sum += g[i] * g[i];
  }
  let total = group_sum(lane, sum);
  if (lane == 0u) { partials[params.at + group.x] = total; }
}`,
  wasm: { name: 'gradientNormSquares', pieces: ({ groups }) => groups },
});

// Finiteness is read from the bits: drivers fold comparisons of NaN.
const clipKernel = defineKernel({
  name: 'gradientNorm.clip',
  buffers: { partials: read('f32'), gradScale: write('f32') },
  params: { count: 'u32', clip: 'f32' },
  code: `${GROUP_SUM}
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.count; i += ${THREADS}u) { sum += partials[i]; }
  let total = group_sum(lane, sum);
  if (lane == 0u) {
    let norm = sqrt(total);
    var scale = 1.0;
    if (params.clip > 0.0) { scale = min(1.0, params.clip / (norm + 1e-6)); }
    if ((bitcast<u32>(total) & 0x7f800000u) == 0x7f800000u) { scale = 0.0; }
    gradScale[0] = scale;
    gradScale[1] = norm;
  }
}`,
  wasm: { name: 'gradientNormClip', pieces: () => 1 },
});

function groupsFor(count: number): number {
  return Math.min(GROUPS, Math.max(1, Math.ceil(count / PER_GROUP)));
}

/** Bytes of the `partials` scratch for gradients of these element counts. */
export function gradientNormBytes(counts: readonly number[]): number {
  return 4 * counts.reduce((sum, count) => sum + groupsFor(count), 0);
}

/**
 * Writes gradScale f32 [2] = (factor, norm): norm = √Σg² over all gradients, factor = min(1, clip / (norm + 1e-6)) as
 * PyTorch clips, 1 where `clip` is 0 or below, and 0 where Σg² is not finite in single precision.
 * @param gradients f32 arrays with their element counts
 * @param scratch `partials` of `gradientNormBytes`
 */
export function clipScale<B>(
  gradients: readonly { readonly buffer: B; readonly count: number }[],
  scratch: { partials: B; gradScale: B },
  clip: number,
): Dispatch<B>[] {
  let at = 0;
  const dispatches: Dispatch<B>[] = gradients.map(({ buffer, count }) => {
    const groups = groupsFor(count);
    const one = dispatch(squaresKernel, { g: buffer, partials: scratch.partials }, { count, groups, at }, [
      groups,
      1,
      1,
    ]);
    at += groups;
    return one;
  });
  return [...dispatches, dispatch(clipKernel, scratch, { count: at, clip }, [1, 1, 1])];
}
