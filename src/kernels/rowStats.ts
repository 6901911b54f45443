/**
 * What scoring and representation read from a row of logits: largest logit, log-sum-exp, best id, log-probability of a
 * given id, and the probability of a marked set of ids. One group of 256 threads a row, one pass over the row.
 */
import { type Dispatch, defineKernel, dispatch, read, write } from '../device/kernel.ts';
import { ADD_FOUR, LOAD_FOUR, LOWEST, ROW_REDUCE, ROW_THREADS, ROW_TURN } from './rowScan.ts';

const ROW_LOGIT = `
fn logit(row: u32, j: u32) -> f32 { return logits[row * params.vocabulary + j]; }`;

const rowStatsKernel = defineKernel({
  name: 'rowStats',
  buffers: { logits: read('f32'), labels: read('i32'), stats: write('f32'), best: write('u32') },
  params: { rowStart: 'u32', vocabulary: 'u32' },
  code: `${ROW_REDUCE}${ROW_LOGIT}
var<workgroup> best_id: atomic<u32>;
@compute @workgroup_size(${ROW_THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let r = params.rowStart + row;
  let vocabulary = params.vocabulary;
  var peak = ${LOWEST};
  var sum = 0.0;
  for (var j = lane; j < vocabulary; j += ${ROW_TURN}u) {
    ${LOAD_FOUR}
    let used = select(vec4<f32>(0.0), vec4<f32>(1.0), inside);
    ${ADD_FOUR}
  }
  if (lane == 0u) { atomicStore(&best_id, 0xffffffffu); }
  let merged = merge_softmax(lane, peak, sum);
  // Only threads that met the largest logit look again for where it was.
  if (peak == merged.x) {
    for (var j = lane; j < vocabulary; j += ${ROW_THREADS}u) {
      if (logit(row, j) == peak) { atomicMin(&best_id, j); break; }
    }
  }
  workgroupBarrier();
  if (lane == 0u) {
    let lse = merged.x + log(merged.y);
    let label = labels[r];
    var log_probability = 0.0;
    if (label >= 0 && u32(label) < vocabulary) { log_probability = logit(row, u32(label)) - merged.x - log(merged.y); }
    stats[3u * r] = merged.x;
    stats[3u * r + 1u] = lse;
    stats[3u * r + 2u] = log_probability;
    best[r] = atomicLoad(&best_id);
  }
}`,
  wasm: { name: 'rowStats', pieces: (_, [rows]) => rows },
});

const markedMassKernel = defineKernel({
  name: 'rowStats.markedMass',
  buffers: { logits: read('f32'), marks: read('u32'), mass: write('f32') },
  params: { rowStart: 'u32', vocabulary: 'u32' },
  code: `${ROW_REDUCE}${ROW_LOGIT}
fn mark(j: u32) -> f32 { return f32((marks[j >> 5u] >> (j & 31u)) & 1u); }
@compute @workgroup_size(${ROW_THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let vocabulary = params.vocabulary;
  var peak = ${LOWEST};
  var sum = 0.0;
  var marked = 0.0;
  for (var j = lane; j < vocabulary; j += ${ROW_TURN}u) {
    ${LOAD_FOUR}
    let used = select(vec4<f32>(0.0), vec4<f32>(1.0), inside);
    let marks_here = used * vec4<f32>(mark(at_most.x), mark(at_most.y), mark(at_most.z), mark(at_most.w));
    let before = peak;
    ${ADD_FOUR}
    marked = marked * exp(before - peak) + dot(marks_here, exp(z - vec4<f32>(peak)));
  }
  let merged = merge_softmax(lane, peak, sum);
  let total = add_up(lane, marked * exp(peak - merged.x), 0.0).x;
  if (lane == 0u) { mass[params.rowStart + row] = total / merged.y; }
}`,
  wasm: { name: 'rowStatsMarkedMass', pieces: (_, [rows]) => rows },
});

/** A chunk of logits and where its rows lie in the batch. */
export interface RowChunk {
  readonly rowStart: number;
  readonly chunkRows: number;
  readonly vocabulary: number;
}

/**
 * @param buffers logits f32 [chunkRows, vocabulary]; labels i32 [rows], negative = none; written: stats f32 [rows, 3] =
 * (largest logit, log-sum-exp, log p(label) or 0) and best u32 [rows] = id of the largest logit, the lowest on ties
 */
export function rowStats<B>(
  buffers: { logits: B; labels: B; stats: B; best: B },
  { rowStart, chunkRows, vocabulary }: RowChunk,
): Dispatch<B> {
  return dispatch(rowStatsKernel, buffers, { rowStart, vocabulary }, [chunkRows, 1, 1]);
}

/**
 * The probability that the next id is one of a set: β of 2503.20083 when the set is the tokens that start with white
 * space or are special.
 * @param buffers logits f32 [chunkRows, vocabulary]; marks u32 [ceil(vocabulary / 32)], bit j & 31 of word j >> 5 set
 * for the ids of the set; mass f32 [rows], written
 */
export function boundaryMass<B>(
  buffers: { logits: B; marks: B; mass: B },
  { rowStart, chunkRows, vocabulary }: RowChunk,
): Dispatch<B> {
  return dispatch(markedMassKernel, buffers, { rowStart, vocabulary }, [chunkRows, 1, 1]);
}

/** The `marks` of `boundaryMass` for a set of ids. */
export function markIds(ids: Iterable<number>, vocabulary: number): Uint32Array<ArrayBuffer> {
  const marks = new Uint32Array(Math.ceil(vocabulary / 32));
  for (const id of ids) marks[id >> 5] = (marks[id >> 5] ?? 0) | (1 << (id & 31));
  return marks;
}
