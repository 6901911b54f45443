/**
 * Choosing the next token: greedily on the device, so that decode steps can be queued one behind the other, or by chance
 * on the host from the top-K entries of the row.
 *
 * Greedy: 64 groups a row each find the best of their logits, one group picks among them. The best value goes as an
 * ordered integer; the lowest id wins among equals; NaN never wins.
 */
import { type Dispatch, defineKernel, dispatch, read, unfolded, write } from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { uniform } from '../util/random.ts';
import { ORDERED } from './topK.ts';

const GROUPS = 64;
const THREADS = 64;

const BEST_OF_GROUP = `
${ORDERED}
var<workgroup> keys: array<u32, ${THREADS}>;
var<workgroup> places: array<u32, ${THREADS}>;
fn best_of_group(lane: u32, key: u32, id: u32) {
  keys[lane] = key;
  places[lane] = id;
  workgroupBarrier();
  for (var width = ${unfolded(THREADS / 2)}; width > 0u; width >>= 1u) {
    if (lane < width) {
      let other = lane + width;
      if (keys[other] > keys[lane] || (keys[other] == keys[lane] && places[other] < places[lane])) {
        keys[lane] = keys[other];
        places[lane] = places[other];
      }
    }
    workgroupBarrier();
  }
}
`;

const partKernel = defineKernel({
  name: 'sampling.greedy.part',
  buffers: { logits: read('f32'), partials: write('u32') },
  params: { vocabulary: 'u32' },
  code: `${BEST_OF_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y;
  var key = 0u;
  var id = 0xffffffffu;
  for (var j = group.x * ${THREADS}u + lane; j < params.vocabulary; j += ${GROUPS * THREADS}u) {
    let candidate = ordered(logits[row * params.vocabulary + j]);
    if (candidate > key) { key = candidate; id = j; }
  }
  best_of_group(lane, key, id);
  if (lane == 0u) {
    let at = 2u * (row * ${GROUPS}u + group.x);
    partials[at] = keys[0];
    partials[at + 1u] = places[0];
  }
}`,
  wasm: { name: 'samplingGreedyPart', pieces: (_, [groups, rows]) => groups * rows },
});

const pickKernel = defineKernel({
  name: 'sampling.greedy.pick',
  buffers: { partials: read('u32'), state: read('u32'), tokens: write('u32') },
  params: { slot: 'u32', offset: 'u32', stride: 'u32' },
  code: `${BEST_OF_GROUP}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let at = 2u * (row * ${GROUPS}u + lane);
  best_of_group(lane, partials[at], partials[at + 1u]);
  let place = state[params.slot] + params.offset;
  if (lane == 0u && place < params.stride) { tokens[row * params.stride + place] = places[0]; }
}`,
  wasm: { name: 'samplingGreedyPick', pieces: (_, [rows]) => rows },
});

/** Bytes of the `partials` scratch of `greedyToken`. */
export function greedyTokenBytes(rows: number): number {
  return rows * GROUPS * 2 * 4;
}

export interface TokenPlace {
  /** Index into `state` of the counter that holds the position. */
  readonly slot: number;
  /** Added to the position: 1 writes behind the token that was just read. */
  readonly offset: number;
  /** Tokens a row has room for; positions past it are not written. */
  readonly stride: number;
}

/**
 * tokens[row, state[slot] + offset] = id of the largest logit of the row.
 * @param buffers logits f32 [rows, vocabulary], partials scratch, state u32, tokens u32 [rows, stride]
 */
export function greedyToken<B>(
  buffers: { logits: B; partials: B; state: B; tokens: B },
  { rows, vocabulary }: { rows: number; vocabulary: number },
  { slot, offset, stride }: TokenPlace,
): Dispatch<B>[] {
  const { logits, partials, state, tokens } = buffers;
  return [
    dispatch(partKernel, { logits, partials }, { vocabulary }, [GROUPS, rows, 1]),
    dispatch(pickKernel, { partials, state, tokens }, { slot, offset, stride }, [rows, 1, 1]),
  ];
}

export interface SamplingSettings {
  /** 0 = always the best. */
  readonly temperature: number;
  /** Keeps this many of the best; 0 = all that were read back. */
  readonly topK: number;
  /** Keeps the shortest run of the best whose share reaches this; 1 = all. */
  readonly topP: number;
  readonly seed: number;
  /** Position of the token: the same seed and counter give the same draw. */
  readonly counter: number;
}

/**
 * Draws a token from the best entries of a row, in the usual order: the K best, temperature, then the nucleus with shares
 * among those that are left (2019, Holtzman et al., 1904.09751). Mass that was not read back is left out.
 * @param ids best first, as `topK` gives them (its filler is skipped)
 * @param logProbs nats, or raw logits: a constant does not matter
 * @throws AlloyError `bad-argument` when nothing is left to draw from
 */
export function sampleToken(
  ids: ArrayLike<number>,
  logProbs: ArrayLike<number>,
  settings: SamplingSettings,
): number {
  const { temperature, topK, topP, seed, counter } = settings;
  const candidates: { id: number; logProb: number }[] = [];
  for (let e = 0; e < ids.length; e++) {
    const id = ids[e] ?? FILLER;
    const logProb = logProbs[e] ?? Number.NaN;
    if (id !== FILLER && !Number.isNaN(logProb)) candidates.push({ id, logProb });
  }
  const best = candidates[0];
  if (!best) throw new AlloyError('bad-argument', 'The row has no finite logit; the model cannot continue.');
  if (!(temperature > 0)) return best.id;

  const weights = candidates
    .slice(0, topK > 0 ? topK : candidates.length)
    .map(({ id, logProb }) => ({ id, weight: Math.exp((logProb - best.logProb) / temperature) }));
  const total = weights.reduce((sum, { weight }) => sum + weight, 0);
  const nucleus: typeof weights = [];
  let mass = 0;
  for (const entry of weights) {
    nucleus.push(entry);
    mass += entry.weight;
    if (mass >= topP * total) break;
  }
  let left = uniform(seed, 'sampling', counter) * mass;
  for (const { id, weight } of nucleus) {
    left -= weight;
    if (left < 0) return id;
  }
  return best.id;
}

const FILLER = 0xffff_ffff;
