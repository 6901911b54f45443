/**
 * The K largest logits of each row with their log-probabilities; larger first, the lower id first among equals.
 *
 * One group of 256 threads a row. Pass 1 builds the log-sum-exp and every thread's own largest logit; the K-th largest of
 * those 256 is a bound that at least K logits reach and few exceed. Pass 2 gathers the logits that reach it (about K to
 * 1.2 K of them unless the row is built against it) and every gathered one counts how many precede it, which is its
 * place. Where more than 1024 reach the bound, as in a row of equal logits, K passes take one each.
 * Logits are compared as ordered integers; NaN comes last. The order of gathering does not show in the result.
 */
import { type Dispatch, defineKernel, dispatch, read, unfolded, write } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { ADD_FOUR, LOAD_FOUR, LOWEST, ROW_REDUCE, ROW_THREADS, ROW_TURN } from './rowScan.ts';
import type { RowChunk } from './rowStats.ts';

export const MAX_TOP_K = 64;
const CAPACITY = 1024;

/** WGSL: f32 as u32 in the same order, ±0 equal, NaN lowest; and back. */
export const ORDERED = `
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) == 0u) { return 0x80000000u; }
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0u; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn value_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}
`;

const topKKernel = defineKernel({
  name: 'topK',
  buffers: { logits: read('f32'), ids: write('u32'), logProbs: write('f32') },
  params: { rowStart: 'u32', vocabulary: 'u32', kept: 'u32' },
  code: `${ROW_REDUCE}${ORDERED}
var<workgroup> bests: array<u32, ${ROW_THREADS}>;
var<workgroup> bound: u32;
var<workgroup> gathered: atomic<u32>;
var<workgroup> gathered_count: u32;
var<workgroup> keys: array<u32, ${CAPACITY}>;
var<workgroup> places: array<u32, ${CAPACITY}>;
fn logit(row: u32, j: u32) -> f32 { return logits[row * params.vocabulary + j]; }
fn precedes(key: u32, id: u32, other_key: u32, other_id: u32) -> bool {
  return key > other_key || (key == other_key && id < other_id);
}

@compute @workgroup_size(${ROW_THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let vocabulary = params.vocabulary;
  let kept = params.kept;
  let at = (params.rowStart + row) * kept;
  var peak = ${LOWEST};
  var sum = 0.0;
  for (var j = lane; j < vocabulary; j += ${ROW_TURN}u) {
    ${LOAD_FOUR}
    let used = select(vec4<f32>(0.0), vec4<f32>(1.0), inside);
    ${ADD_FOUR}
  }
  let merged = merge_softmax(lane, peak, sum);
  let log_total = log(merged.y);

  // A thread without a logit above the stand-in for minus infinity bounds nothing.
  let best = select(ordered(peak), 0u, peak <= ${LOWEST});
  bests[lane] = best;
  if (lane == 0u) { atomicStore(&gathered, 0u); }
  workgroupBarrier();
  var ahead = 0u;
  for (var other = 0u; other < ${ROW_THREADS}u; other++) {
    ahead += select(0u, 1u, precedes(bests[other], other, best, lane));
  }
  if (ahead == kept - 1u) { bound = best; }
  workgroupBarrier();
  for (var j = lane; j < vocabulary; j += ${ROW_TURN}u) {
    ${LOAD_FOUR}
    for (var part = 0u; part < 4u; part++) {
      let key = ordered(z[part]);
      if (inside[part] && key >= bound) {
        let slot = atomicAdd(&gathered, 1u);
        if (slot < ${CAPACITY}u) { keys[slot] = key; places[slot] = columns[part]; }
      }
    }
  }
  workgroupBarrier();
  if (lane == 0u) { gathered_count = atomicLoad(&gathered); }
  let count = workgroupUniformLoad(&gathered_count);
  if (count <= ${CAPACITY}u) {
    for (var mine = lane; mine < count; mine += ${ROW_THREADS}u) {
      var place = 0u;
      for (var other = 0u; other < count; other++) {
        place += select(0u, 1u, precedes(keys[other], places[other], keys[mine], places[mine]));
      }
      if (place < kept) {
        ids[at + place] = places[mine];
        logProbs[at + place] = value_of(keys[mine]) - merged.x - log_total;
      }
    }
    for (var e = count + lane; e < kept; e += ${ROW_THREADS}u) {
      ids[at + e] = 0xffffffffu;
      logProbs[at + e] = ${LOWEST};
    }
    return;
  }

  var last_key = 0xffffffffu;
  var last_id = 0xffffffffu;
  for (var e = 0u; e < kept; e++) {
    var key = 0u;
    var id = 0xffffffffu;
    for (var j = lane; j < vocabulary; j += ${ROW_THREADS}u) {
      let candidate = ordered(logit(row, j));
      if (precedes(last_key, last_id, candidate, j) && precedes(candidate, j, key, id)) {
        key = candidate;
        id = j;
      }
    }
    keys[lane] = key;
    places[lane] = id;
    workgroupBarrier();
    for (var width = ${unfolded(ROW_THREADS / 2)}; width > 0u; width >>= 1u) {
      if (lane < width && precedes(keys[lane + width], places[lane + width], keys[lane], places[lane])) {
        keys[lane] = keys[lane + width];
        places[lane] = places[lane + width];
      }
      workgroupBarrier();
    }
    last_key = keys[0];
    last_id = places[0];
    if (lane == 0u) {
      ids[at + e] = last_id;
      logProbs[at + e] = value_of(last_key) - merged.x - log_total;
    }
    workgroupBarrier();
  }
}`,
  wasm: { name: 'topK', pieces: (_, [rows]) => rows },
});

/**
 * @param buffers logits f32 [chunkRows, vocabulary]; written: ids u32 [rows, kept] and logProbs f32 [rows, kept] = logit −
 * log-sum-exp of the whole row, nats. Where the vocabulary is smaller than `kept`, ids are 0xffffffff.
 * @param kept K, 1 to 64
 */
export function topK<B>(
  buffers: { logits: B; ids: B; logProbs: B },
  { rowStart, chunkRows, vocabulary }: RowChunk,
  kept: number,
): Dispatch<B> {
  if (kept < 1 || kept > MAX_TOP_K)
    throw new AlloyError('internal', `topK: ${kept} entries, 1 to ${MAX_TOP_K}`);
  return dispatch(topKKernel, buffers, { rowStart, vocabulary, kept }, [chunkRows, 1, 1]);
}
