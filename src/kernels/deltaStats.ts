/**
 * What merge weights and the view of conflicts need to know of one matrix: energies of the deltas and where their signs
 * disagree. Two stages in a fixed order: each group adds up its tiles, then one group a number adds up the groups.
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
import { KEPT, SELECTION_SPECS, type Selection } from './deltaSelect.ts';
import {
  type DeltaShape,
  type DeltaSource,
  sourceBuffers,
  sourceConstants,
  sourceParams,
  sourceSpecs,
  TILE_PARAMS,
  TILE_THREADS,
  tileCode,
  tileGrid,
  upTo,
} from './deltaTile.ts';
import { GROUP_SUM } from './gradientNorm.ts';

const PER_SOURCE = 4;
const PER_PAIR = 2;
const ROW_GROUPS = 64;
/** Numbers that a group adds up at a time: 64 threads × 16 × 4 bytes of workgroup memory. */
const BATCH = 16;

/** Numbers per matrix: 4 a source, then 2 a pair s < t in the order (0,1), (0,2), …, (1,2), … */
export function deltaStatsCount(sources: number): number {
  return PER_SOURCE * sources + PER_PAIR * pairs(sources).length;
}

/** Bytes of the `partials` scratch. */
export function deltaStatsBytes(shape: DeltaShape): number {
  const [x, y] = tileGrid(shape, ROW_GROUPS);
  return x * y * deltaStatsCount(shape.sources) * 4;
}

export interface SourceStats {
  /** Σ δ² over the selected elements: the energy that SCE's weights are made of. */
  readonly selectedEnergy: number;
  /** Σ δ² over all elements. */
  readonly energy: number;
  /** Σ |δ|. */
  readonly mass: number;
  /** Σ |δ| where the sign is not that of the sum over all sources. */
  readonly opposedMass: number;
}

export interface PairStats {
  readonly first: number;
  readonly second: number;
  /** Σ δ_s δ_t. */
  readonly dot: number;
  /** Σ min(|δ_s|, |δ_t|) where their signs are opposite. */
  readonly conflictMass: number;
}

/** Names the numbers of one matrix. */
export function readDeltaStats(
  values: ArrayLike<number>,
  sources: number,
  start = 0,
): { sources: SourceStats[]; pairs: PairStats[] } {
  const at = (index: number) => values[start + index] ?? Number.NaN;
  return {
    sources: upTo(sources).map((s) => ({
      selectedEnergy: at(PER_SOURCE * s),
      energy: at(PER_SOURCE * s + 1),
      mass: at(PER_SOURCE * s + 2),
      opposedMass: at(PER_SOURCE * s + 3),
    })),
    pairs: pairs(sources).map(([first, second], p) => ({
      first,
      second,
      dot: at(PER_SOURCE * sources + PER_PAIR * p),
      conflictMass: at(PER_SOURCE * sources + PER_PAIR * p + 1),
    })),
  };
}

function pairs(sources: number): [number, number][] {
  return upTo(sources).flatMap((s) =>
    upTo(sources)
      .filter((t) => t > s)
      .map((t): [number, number] => [s, t]),
  );
}

const statsKernel = madeOnce(
  (kind: DeltaSource<unknown>['kind'], sources: number, selected: boolean): Kernel => {
    const name = `deltaStats.${kind}.${sources}${selected ? '.selected' : ''}`;
    const all = upTo(sources);
    const count = deltaStatsCount(sources);
    const body = (t: number) => `
    let total = ${all.map((s) => `d${s}_${t}`).join(' + ')};
    let elected = select(vec4<f32>(-1.0), vec4<f32>(1.0), total >= vec4<f32>(0.0));
    ${selected ? `let keep = select(vec4<f32>(0.0), vec4<f32>(1.0), kept(at${t}));` : ''}
    ${all
      .map(
        (s) => `{
      let square = d${s}_${t} * d${s}_${t};
      let size = abs(d${s}_${t});
      n${PER_SOURCE * s} += dot(square, ${selected ? 'keep' : 'vec4<f32>(1.0)'});
      n${PER_SOURCE * s + 1} += dot(square, vec4<f32>(1.0));
      n${PER_SOURCE * s + 2} += dot(size, vec4<f32>(1.0));
      n${PER_SOURCE * s + 3} += dot(size, select(vec4<f32>(0.0), vec4<f32>(1.0), d${s}_${t} * elected < vec4<f32>(0.0)));
    }`,
      )
      .join('\n    ')}
    ${pairs(sources)
      .map(([s, u], p) => {
        const at = PER_SOURCE * sources + PER_PAIR * p;
        return `n${at} += dot(d${s}_${t}, d${u}_${t});
    n${at + 1} += dot(min(abs(d${s}_${t}), abs(d${u}_${t})),
      select(vec4<f32>(0.0), vec4<f32>(1.0), sign(d${s}_${t}) * sign(d${u}_${t}) < vec4<f32>(0.0)));`;
      })
      .join('\n    ')}`;
    const batches = upTo(Math.ceil(count / BATCH)).map((batch) => {
      const numbers = upTo(Math.min(BATCH, count - batch * BATCH));
      return `
  ${numbers.map((i) => `terms[${i}u * ${TILE_THREADS}u + lane] = n${batch * BATCH + i};`).join(' ')}
  workgroupBarrier();
  if (lane < ${numbers.length}u) {
    var sum = 0.0;
    for (var other = 0u; other < ${TILE_THREADS}u; other++) { sum += terms[lane * ${TILE_THREADS}u + other]; }
    partials[(group.y * groups.x + group.x) * ${count}u + ${batch * BATCH}u + lane] = sum;
  }
  workgroupBarrier();`;
    });
    return defineKernel<string, string>({
      name,
      buffers: { ...sourceSpecs(kind), ...(selected ? SELECTION_SPECS : {}), partials: write('f32') },
      params: TILE_PARAMS,
      code: `var<workgroup> terms: array<f32, ${BATCH * TILE_THREADS}>;
${selected ? KEPT : ''}${tileCode(kind, sources, {
  before: upTo(count)
    .map((i) => `var n${i} = 0.0;`)
    .join(' '),
  body,
  after: batches.join('\n'),
  zeroOutside: true,
})}`,
      wasm: {
        name: 'deltaStats',
        constants: [selected ? 1 : 0, ...sourceConstants(kind, sources)],
        pieces: (_, [across, down]) => across * down,
      },
    });
  },
);

const sumKernel = defineKernel({
  name: 'deltaStats.sum',
  buffers: { partials: read('f32'), stats: write('f32') },
  params: { groups: 'u32', count: 'u32', start: 'u32' },
  code: `${GROUP_SUM}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.groups; i += 256u) { sum += partials[i * params.count + group.x]; }
  let total = group_sum(lane, sum);
  if (lane == 0u) { stats[params.start + group.x] = total; }
}`,
  wasm: { name: 'deltaStatsSum', pieces: (_, [numbers]) => numbers },
});

/**
 * Writes the `deltaStatsCount` numbers of one matrix to `stats` from `start` on; `readDeltaStats` names them.
 * @param buffers `partials` scratch of `deltaStatsBytes`; `stats` f32
 * @param selection the elements whose energy is asked for; all when left out. The other numbers are of all elements.
 */
export function deltaStats<B>(
  source: DeltaSource<B>,
  buffers: { readonly partials: B; readonly stats: B },
  shape: DeltaShape,
  start = 0,
  selection?: Selection<B>,
): Dispatch<B>[] {
  const { partials, stats } = buffers;
  const grid = tileGrid(shape, ROW_GROUPS);
  const count = deltaStatsCount(shape.sources);
  return [
    dispatch<string, string, B>(
      statsKernel(source.kind, shape.sources, selection !== undefined),
      {
        ...sourceBuffers(source),
        partials,
        ...(selection ? { variance: selection.variance, selection: selection.selection } : {}),
      },
      sourceParams(source, shape),
      grid,
    ),
    dispatch(sumKernel, { partials, stats }, { groups: grid[0] * grid[1], count, start }, [count, 1, 1]),
  ];
}
