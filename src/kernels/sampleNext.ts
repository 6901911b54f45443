/**
 * Choosing the next token on the device, so that decode steps queue one behind the other: `sampleToken` of `sampling.ts`
 * from the top-K entries of one row, in f32. The draw comes from the same Philox counter block (its first 24 bits), so
 * host and device agree but where a draw falls within rounding of the edge between two tokens.
 *
 * One workgroup of 64 threads: each weighs an entry, the first one draws. It writes the id behind the row (the step to
 * come embeds it), moves the position on, and leaves what the host reads late: the id and its log-probability.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { streamWords } from '../util/random.ts';
import type { SamplingSettings } from './sampling.ts';
import { MAX_TOP_K } from './topK.ts';

/** WGSL: the first word of a Philox 4x32-10 block (see `src/util/random.ts`). */
const PHILOX = `
fn high_product(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let carried = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (carried >> 16u);
}
fn philox(start: vec4<u32>, seed: vec2<u32>) -> u32 {
  var c = start;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    c = vec4<u32>(
      high_product(0xcd9e8d57u, c.z) ^ c.y ^ key.x, 0xcd9e8d57u * c.z,
      high_product(0xd2511f53u, c.x) ^ c.w ^ key.y, 0xd2511f53u * c.x);
    key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c.x;
}`;

const FILLER = '0xffffffffu';

const sampleKernel = defineKernel({
  name: 'sampling.next',
  buffers: {
    // Bound for writing, so that they may be slices of the buffer of `chosen`.
    ids: write('u32'),
    logProbs: write('f32'),
    settings: read('u32'),
    state: write('u32'),
    tokens: write('u32'),
    chosen: write('u32'),
  },
  params: { kept: 'u32' },
  code: `${PHILOX}
var<workgroup> weights: array<f32, ${MAX_TOP_K}>;
@compute @workgroup_size(${MAX_TOP_K})
fn main(@builtin(local_invocation_index) lane: u32) {
  let temperature = bitcast<f32>(settings[0]);
  let top_k = settings[1];
  let top_p = bitcast<f32>(settings[2]);
  let best = logProbs[0];
  let entries = select(min(top_k, params.kept), params.kept, top_k == 0u);
  let entry = min(lane, params.kept - 1u);
  let log_prob = logProbs[entry];
  // NaN by its bits: comparisons with it may be folded.
  let usable = lane < entries && ids[entry] != ${FILLER} && (bitcast<u32>(log_prob) & 0x7fffffffu) <= 0x7f800000u;
  weights[lane] = select(0.0, exp((log_prob - best) / max(temperature, 1e-6)), usable);
  workgroupBarrier();
  if (lane != 0u) { return; }

  let position = state[0] + state[1];
  var choice = 0u;
  if (temperature > 0.0) {
    var total = 0.0;
    for (var e = 0u; e < entries; e++) { total += weights[e]; }
    var mass = 0.0;
    var end = 0u;
    while (end < entries) {
      mass += weights[end];
      end++;
      if (mass >= top_p * total) { break; }
    }
    let word = philox(vec4<u32>(position, 0u, settings[5], settings[6]), vec2<u32>(settings[3], settings[4]));
    var left = f32(word >> 8u) / 16777216.0 * mass;
    for (var e = 0u; e < end; e++) {
      left -= weights[e];
      if (left < 0.0 && weights[e] > 0.0) { choice = e; break; }
    }
  }
  tokens[0] = ids[choice];
  state[0] = position;
  state[1] = 1u;
  chosen[0] = ids[choice];
  chosen[1] = bitcast<u32>(logProbs[choice]);
}`,
  wasm: { name: 'samplingNext', pieces: () => 1 },
});

/** Words of the `settings` buffer of `sampleNext`. */
export const SETTINGS_WORDS = 8;

/** What `sampleNext` reads: the counter is the position, which the device keeps. */
export function settingsWords(settings: Omit<SamplingSettings, 'counter'>): Uint32Array<ArrayBuffer> {
  const { temperature, topK, topP, seed } = settings;
  const floats = Float32Array.of(temperature > 0 ? temperature : 0, topP);
  const bits = new Uint32Array(floats.buffer);
  const { key, stream } = streamWords(seed, 'sampling');
  return Uint32Array.of(bits[0] ?? 0, topK, bits[1] ?? 0, ...key, ...stream, 0);
}

/** Bytes of the `chosen` buffer: the id (0xffffffff where the row has none), and its log-probability. */
export const CHOSEN_BYTES = 8;

/**
 * tokens[0] = the next token of the row whose best entries `topK` gave; state = [position after the row, 1].
 * @param buffers ids u32 and logProbs f32 [kept], best first; settings u32 (`settingsWords`); state u32 [position of the
 * first row read, rows read]; written: tokens u32 [1], chosen u32 [2] = (id, bits of its log-probability)
 * @param kept entries of the row, 1 to 64
 */
export function sampleNext<B>(
  buffers: { ids: B; logProbs: B; settings: B; state: B; tokens: B; chosen: B },
  kept: number,
): Dispatch<B> {
  if (kept < 1 || kept > MAX_TOP_K) throw new AlloyError('internal', `sampleNext: ${kept} entries`);
  return dispatch(sampleKernel, buffers, { kept }, [1, 1, 1]);
}
