import { unfolded } from '../device/kernel.ts';

/**
 * WGSL that kernels share which read one row of logits with one group of 256 threads: four loads in flight a thread,
 * neighbouring threads on neighbouring logits, and the log-sum-exp built in the same pass.
 */
export const ROW_THREADS = 256;

/** Logits that one turn of the loop takes: 4 a thread. */
export const ROW_TURN = 4 * ROW_THREADS;

/** Stands for minus infinity: finite, and exp of its distance to any logit is 0. */
export const LOWEST = '-3.0e38';

/**
 * Declares, inside a loop over `j` from `lane` in steps of `ROW_TURN`: `columns` (ids), `inside` (below `vocabulary`)
 * and `z` (logits, `LOWEST` outside). Needs a function `logit(row, j)`.
 */
export const LOAD_FOUR = `
    let columns = vec4<u32>(j) + vec4<u32>(0u, ${ROW_THREADS}u, ${2 * ROW_THREADS}u, ${3 * ROW_THREADS}u);
    let at_most = min(columns, vec4<u32>(vocabulary - 1u));
    let inside = columns < vec4<u32>(vocabulary);
    let z = select(vec4<f32>(${LOWEST}),
      vec4<f32>(logit(row, at_most.x), logit(row, at_most.y), logit(row, at_most.z), logit(row, at_most.w)), inside);`;

/** Adds the logits `z` whose `used` is 1 (else 0) to `sum` = Σ exp(z − `peak`), raising `peak` where needed. */
export const ADD_FOUR = `
    let higher = max(peak, max(max(z.x, z.y), max(z.z, z.w)));
    sum = sum * exp(peak - higher) + dot(used, exp(z - vec4<f32>(higher)));
    peak = higher;`;

/**
 * `merge_softmax(lane, peak, sum)` = (largest peak, Σ of the sums relative to it) over the group;
 * `add_up(lane, a, b)` = (Σ a, Σ b). Both end with a barrier before their memory is used again.
 */
export const ROW_REDUCE = `
var<workgroup> peaks: array<f32, ${ROW_THREADS}>;
var<workgroup> sums: array<f32, ${ROW_THREADS}>;
fn merge_softmax(lane: u32, peak: f32, sum: f32) -> vec2<f32> {
  workgroupBarrier();
  peaks[lane] = peak;
  sums[lane] = sum;
  workgroupBarrier();
  for (var width = ${unfolded(ROW_THREADS / 2)}; width > 0u; width >>= 1u) {
    if (lane < width) {
      let a = peaks[lane];
      let b = peaks[lane + width];
      let higher = max(a, b);
      sums[lane] = sums[lane] * exp(a - higher) + sums[lane + width] * exp(b - higher);
      peaks[lane] = higher;
    }
    workgroupBarrier();
  }
  return vec2<f32>(peaks[0], sums[0]);
}
fn add_up(lane: u32, a: f32, b: f32) -> vec2<f32> {
  workgroupBarrier();
  peaks[lane] = a;
  sums[lane] = b;
  workgroupBarrier();
  for (var width = ${unfolded(ROW_THREADS / 2)}; width > 0u; width >>= 1u) {
    if (lane < width) { peaks[lane] += peaks[lane + width]; sums[lane] += sums[lane + width]; }
    workgroupBarrier();
  }
  return vec2<f32>(peaks[0], sums[0]);
}
`;
