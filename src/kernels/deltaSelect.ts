/**
 * The select step of SCE (2408.07990): of one matrix, keep the elements whose variance over the sources is among the
 * k = floor(τ · number of elements with a variance above 0) largest; larger variance first, then the lower index.
 *
 * Exact, and without reading back: the variances are written once (recomputing them could round differently), then a
 * radix select finds the k-th largest of the pairs (variance bits, inverted index): per digit one histogram with
 * integer atomics, which add up the same in any order, and one group that picks the digit. Three digits of 11, 11 and 10
 * bits find the variance, three more the index among its equals. k is the product in double precision, rounded as the
 * host would round it. 14 dispatches; none of this is needed for τ = 1.
 */
import {
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import {
  type DeltaShape,
  type DeltaSource,
  sourceBuffers,
  sourceConstants,
  sourceParams,
  sourceSpecs,
  TILE_PARAMS,
  tileCode,
  tileGrid,
  upTo,
  wasmTiles,
} from './deltaTile.ts';
import { fill } from './elementwise.ts';

/** Elements that a merge or its statistics keep. */
export interface Selection<B> {
  /** f32 [rows, columns]: variance over the sources */
  readonly variance: B;
  /** u32 [4] = (bits of the smallest kept variance, last kept index at that variance, scratch, scratch) */
  readonly selection: B;
}

const BINS = 2048;
const DIGITS = [
  { shift: 21, width: 11 },
  { shift: 10, width: 11 },
  { shift: 0, width: 10 },
] as const;
const THREADS = 256;
const PER_THREAD = 32;

/** WGSL: vec4<bool>, true where the elements `at` are kept. */
export const KEPT = `
fn kept(at: vec4<u32>) -> vec4<bool> {
  let key = bitcast<vec4<u32>>(vec4<f32>(variance[at.x], variance[at.y], variance[at.z], variance[at.w]));
  let least = vec4<u32>(selection[0]);
  return (key > least) | ((key == least) & (at <= vec4<u32>(selection[1])));
}
`;

/** The buffers that `KEPT` reads. */
export const SELECTION_SPECS = { variance: read('f32'), selection: read('u32') };

const varianceKernel = madeOnce((kind: DeltaSource<unknown>['kind'], sources: number): Kernel => {
  const name = `deltaSelect.variance.${kind}.${sources}`;
  const others = upTo(sources).slice(1);
  // Deviations from source 0, so that equal deltas have variance 0 exactly.
  const body = (t: number) => `
    ${others.map((s) => `let e${s} = d${s}_${t} - d0_${t};`).join(' ')}
    let mean = (${['vec4<f32>(0.0)', ...others.map((s) => `e${s}`)].join(' + ')}) / ${sources}.0;
    let v = (${['mean * mean', ...others.map((s) => `(e${s} - mean) * (e${s} - mean)`)].join(' + ')}) / ${sources}.0;
    ${['x', 'y', 'z', 'w'].map((c) => `if (inside${t}.${c}) { variance[at${t}.${c}] = v.${c}; }`).join(' ')}`;
  return defineKernel<string, string>({
    name,
    buffers: { ...sourceSpecs(kind), variance: write('f32') },
    params: TILE_PARAMS,
    code: tileCode(kind, sources, { body }),
    wasm: { name: 'deltaSelectVariance', constants: sourceConstants(kind, sources), pieces: wasmTiles },
  });
});

// stage 0: digits of the variance; stage 1: digits of the inverted index among the elements at the threshold.
const histogramKernel = defineKernel({
  name: 'deltaSelect.histogram',
  buffers: { variance: read('u32'), selection: read('u32'), histogram: write('atomic<u32>') },
  params: { count: 'u32', stage: 'u32', shift: 'u32', width: 'u32' },
  code: `
var<workgroup> bins: array<atomic<u32>, ${BINS}>;
var<workgroup> varied: atomic<u32>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  for (var bin = lane; bin < ${BINS}u; bin += ${THREADS}u) { atomicStore(&bins[bin], 0u); }
  if (lane == 0u) { atomicStore(&varied, 0u); }
  workgroupBarrier();
  let above = params.shift + params.width;
  let least = selection[0];
  let prefix = select(least, selection[3], params.stage == 1u);
  var nonzero = 0u;
  for (var step = 0u; step < ${PER_THREAD}u; step++) {
    let i = (group.x * ${PER_THREAD}u + step) * ${THREADS}u + lane;
    if (i < params.count) {
      let bits = variance[i];
      let key = select(bits, ~i, params.stage == 1u);
      nonzero += select(0u, 1u, bits != 0u);
      let member = params.stage == 0u || bits == least;
      if (member && (above == 32u || (key >> (above & 31u)) == (prefix >> (above & 31u)))) {
        atomicAdd(&bins[(key >> params.shift) & ((1u << params.width) - 1u)], 1u);
      }
    }
  }
  if (nonzero > 0u) { atomicAdd(&varied, nonzero); }
  workgroupBarrier();
  for (var bin = lane; bin < ${BINS}u; bin += ${THREADS}u) {
    let n = atomicLoad(&bins[bin]);
    if (n > 0u) { atomicAdd(&histogram[bin], n); }
  }
  if (lane == 0u) { atomicAdd(&histogram[${BINS}u], atomicLoad(&varied)); }
}`,
  wasm: { name: 'deltaSelectHistogram', pieces: (_, [groups]) => groups },
});

const PER_PICKER = BINS / THREADS;

const pickKernel = defineKernel({
  name: 'deltaSelect.pick',
  buffers: { histogram: write('u32'), selection: write('u32') },
  params: { stage: 'u32', shift: 'u32', first: 'u32', tauHigh: 'u32', tauLow: 'u32' },
  code: `
fn multiply(a: u32, b: u32) -> vec2<u32> {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let carried = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (carried >> 16u), a * b);
}
// floor of τ·n as a double would round it, τ = (tauHigh·2^32 + tauLow) / 2^64: half a unit in the last of 53 places is
// added to the exact product, which then rounds up to a whole number just where the double does.
fn wanted(n: u32) -> u32 {
  let low = multiply(params.tauLow, n);
  let high = multiply(params.tauHigh, n);
  var fraction0 = low.y;
  var fraction1 = low.x + high.y;
  var whole = high.x + select(0u, 1u, fraction1 < low.x);
  var place = 10u;
  if (whole > 0u) { place = 11u + firstLeadingBit(whole); }
  if (place < 32u) {
    fraction0 += 1u << place;
    if (fraction0 < (1u << place)) {
      fraction1 += 1u;
      if (fraction1 == 0u) { whole += 1u; }
    }
  } else {
    let half = 1u << (place - 32u);
    fraction1 += half;
    if (fraction1 < half) { whole += 1u; }
  }
  return whole;
}
var<workgroup> counts: array<u32, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) lane: u32) {
  var left = selection[2];
  if (params.first == 1u) { left = wanted(histogram[${BINS}u]); }
  // Thread 0 has the highest digits.
  let highest = ${BINS - 1}u - lane * ${PER_PICKER}u;
  var own = 0u;
  for (var e = 0u; e < ${PER_PICKER}u; e++) { own += histogram[highest - e]; }
  counts[lane] = own;
  workgroupBarrier();
  for (var reach = 1u; reach < ${THREADS}u; reach <<= 1u) {
    var before = 0u;
    if (lane >= reach) { before = counts[lane - reach]; }
    workgroupBarrier();
    counts[lane] += before;
    workgroupBarrier();
  }
  var passed = counts[lane] - own;
  if (passed < left && counts[lane] >= left) {
    var digit = highest;
    for (var e = 0u; e < ${PER_PICKER}u; e++) {
      digit = highest - e;
      let here = histogram[digit];
      if (passed + here >= left) { break; }
      passed += here;
    }
    let slot = select(0u, 3u, params.stage == 1u);
    let kept_digits = select(selection[slot], 0u, params.first == 1u || (params.stage == 1u && params.shift == ${DIGITS[0].shift}u));
    let found = kept_digits | (digit << params.shift);
    selection[slot] = found;
    selection[2] = left - passed;
    if (params.stage == 1u && params.shift == 0u) { selection[1] = ~found; }
  }
  if (params.first == 1u && left == 0u && lane == 0u) {
    selection[0] = 0xffffffffu;
    selection[1] = 0u;
    selection[2] = 0u;
  }
  for (var e = 0u; e < ${PER_PICKER}u; e++) { histogram[highest - e] = 0u; }
  if (lane == 0u) { histogram[${BINS}u] = 0u; }
}`,
  wasm: { name: 'deltaSelectPick', pieces: () => 1 },
});

/** Bytes of the scratch of `selectTop`. */
export function selectTopBytes({ rows, columns }: DeltaShape) {
  return { variance: rows * columns * 4, selection: 16, histogram: (BINS + 1) * 4 };
}

/**
 * Finds the elements of one matrix to keep, for `mergeDeltas` and `deltaStats`. With k = 0 nothing is kept.
 * @param tau share to keep, above 0 and below 1
 * @throws AlloyError `internal` for another τ: at 1 everything is kept, so leave the selection out
 */
export function selectTop<B>(
  source: DeltaSource<B>,
  buffers: Selection<B> & { histogram: B },
  shape: DeltaShape,
  tau: number,
): Dispatch<B>[] {
  if (!(tau > 0 && tau < 1))
    throw new AlloyError('internal', `selectTop: the share is ${tau}, not in (0, 1)`);
  const { variance, selection, histogram } = buffers;
  const count = shape.rows * shape.columns;
  const [tauHigh, tauLow] = fraction64(tau);
  const groups = Math.ceil(count / (THREADS * PER_THREAD));
  const passes = [0, 1].flatMap((stage) =>
    DIGITS.flatMap(({ shift, width }, digit) => [
      dispatch(histogramKernel, { variance, selection, histogram }, { count, stage, shift, width }, [
        groups,
        1,
        1,
      ]),
      dispatch(
        pickKernel,
        { histogram, selection },
        { stage, shift, first: stage === 0 && digit === 0 ? 1 : 0, tauHigh, tauLow },
        [1, 1, 1],
      ),
    ]),
  );
  return [
    dispatch(
      varianceKernel(source.kind, shape.sources),
      { ...sourceBuffers(source), variance },
      sourceParams(source, shape),
      tileGrid(shape),
    ),
    fill({ y: histogram }, BINS + 1, 0),
    ...passes,
  ];
}

/** τ·2^64 in two words: all digits of a double τ of at least 2^-11. */
function fraction64(tau: number): [high: number, low: number] {
  const scaled = tau * 2 ** 32;
  const high = Math.floor(scaled);
  return [high, Math.floor((scaled - high) * 2 ** 32)];
}
