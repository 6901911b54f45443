/**
 * Attention of a few new rows over a cache for software adapters, whose cost is the number of single loads. A workgroup of
 * eight lanes takes one key head, all query heads that share it and a span of keys. First the lanes stand over keys, so
 * that a key is read once for all heads, and the four lanes of a quad read the queries for each other; then over the
 * columns of the head, so that a value is read once, with the weights of four keys shared alike.
 */
import { type BufferSpec, defineKernel, type Kernel, madeOnce, read, write } from '../device/kernel.ts';
import { ATTENTION_PARAMS, attentionCommon, LOWEST, unroll } from './attentionScore.ts';

/** Words of workgroup memory for weights: the heads of a group share them out. */
const WEIGHTS = 3072;
/** Query heads of a key head at most: each is written out. */
export const MOST_GROUPED = 8;
const LANES = 8;

/** Keys of a span at most. */
export function quadSpan(group: number): number {
  return Math.floor(WEIGHTS / group / 8) * 8;
}

/** Which keys a row sees, and the parameters; from `attentionCached.ts`. */
export interface CachedFrame {
  readonly range: string;
  readonly params: Readonly<Record<string, 'u32' | 'f32'>>;
}

/**
 * @param group query heads that share a key head
 * @param single one span holds all keys: `o` is written; else sums and (largest score, total) a head and span go to `scratch`
 */
export const quadSpanKernel = madeOnce(
  (group: number, single: boolean, frame: CachedFrame, capped: boolean, share: boolean = true): Kernel => {
    const name = `attention.cached.${share ? 'quad' : 'lanes'}${group}${single ? '.single' : ''}${capped ? '.cap' : ''}`;
    const target: Record<string, BufferSpec> = single
      ? { o: write('vec4<f32>') }
      : { scratch: write('vec4<f32>') };
    return defineKernel<string, string>({
      name,
      buffers: {
        q: read('vec4<f32>'),
        k: read('vec4<f32>'),
        v: read('vec4<f32>'),
        state: read('u32'),
        ...target,
      },
      params: { ...ATTENTION_PARAMS, ...frame.params },
      ...(share && { enable: ['subgroups'], fallback: quadSpanKernel(group, single, frame, capped, false) }),
      code: spanCode(group, single, frame, capped, share),
    });
  },
);

function spanCode(
  group: number,
  single: boolean,
  { range }: CachedFrame,
  capped: boolean,
  share: boolean,
): string {
  const span = quadSpan(group);
  const heads = (line: (g: number) => string) => unroll(group, line);
  const builtin = share ? ', @builtin(subgroup_invocation_id) subgroup_lane: u32' : '';
  /** Four values that all lanes need: each lane of a quad reads one of them. */
  const four = (name: string, load: (place: string) => string) =>
    share
      ? `let ${name}_own = ${load('quad')};
      ${unroll(4, (n) => `let ${name}_${n} = quadBroadcast(${name}_own, ${n}u);`)}`
      : unroll(4, (n) => `let ${name}_${n} = ${load(`${n}u`)};`);
  return `${attentionCommon(2, capped)}
${range}
var<workgroup> weights: array<f32, ${WEIGHTS}>;
var<workgroup> part: array<f32, ${LANES * group}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32${builtin}) {
  ${share ? 'let quad = subgroup_lane % 4u;' : ''}
  let range = range_of(group.z);
  let first = range.begin + group.x * range.span;
  let end = min(first + range.span, range.end);
  ${single ? '' : 'if (first >= end) { return; }'}
  let share = params.heads / params.kvHeads;
  let stride = params.kvHeads * params.width;
  let k_at = group.y * params.width;
  let q_at = (group.z * params.heads + group.y * share) * params.width;
  let last_c = params.width - 1u;
  let last_j = max(end, 1u) - 1u;

  ${heads((g) => `var top_${g} = ${LOWEST};`)}
  for (var j = first; j < end; j += ${LANES}u) {
    let at = min(j + lane, last_j) * stride + k_at;
    ${heads((g) => `var product_${g} = 0.0;`)}
    for (var c = 0u; c < params.width; c += 4u) {
      ${unroll(4, (n) => `let key_${n} = select(vec4<f32>(), k[at + min(c + ${n}u, last_c)], c + ${n}u < params.width);`)}
      ${heads(
        (g) => `{ ${four('query', (place) => `q[q_at + ${g}u * params.width + min(c + ${place}, last_c)]`)}
      product_${g} += dot(query_0, key_0) + dot(query_1, key_1) + dot(query_2, key_2) + dot(query_3, key_3); }`,
      )}
    }
    if (j + lane < end) {
      ${heads((g) => `{ let s = score(Rows(product_${g})).x; weights[${g * span}u + j + lane - first] = s; top_${g} = max(top_${g}, s); }`)}
    }
  }
  ${heads((g) => `part[${g * LANES}u + lane] = top_${g};`)}
  workgroupBarrier();
  ${heads((g) => unroll(LANES, (n) => `top_${g} = max(top_${g}, part[${g * LANES + n}u]);`))}
  workgroupBarrier();
  ${heads((g) => `var total_${g} = 0.0;`)}
  for (var j = first + lane; j < end; j += ${LANES}u) {
    ${heads((g) => `{ let weight = exp(weights[${g * span}u + j - first] - top_${g}); weights[${g * span}u + j - first] = weight; total_${g} += weight; }`)}
  }
  ${heads((g) => `part[${g * LANES}u + lane] = total_${g};`)}
  workgroupBarrier();
  ${heads(
    (g) => `total_${g} = 0.0;
  ${unroll(LANES, (n) => `total_${g} += part[${g * LANES + n}u];`)}`,
  )}

  for (var block = 0u; block < params.width; block += ${LANES}u) {
    let c = min(block + lane, last_c);
    ${heads((g) => `var sum_${g} = vec4<f32>();`)}
    for (var j = first; j < end; j += 4u) {
      ${unroll(4, (n) => `let value_${n} = select(vec4<f32>(), v[min(j + ${n}u, last_j) * stride + k_at + c], j + ${n}u < end);`)}
      ${heads(
        (g) => `{ ${four('weight', (place) => `weights[${g * span}u + min(j + ${place}, last_j) - first]`)}
      sum_${g} += weight_0 * value_0 + weight_1 * value_1 + weight_2 * value_2 + weight_3 * value_3; }`,
      )}
    }
    if (block + lane < params.width) {
      ${heads((g) => (single ? `o[q_at + ${g}u * params.width + c] = sum_${g} * select(0.0, 1.0 / total_${g}, total_${g} > 0.0);` : `scratch[((group.z * params.heads + group.y * share + ${g}u) * params.spans + group.x) * params.width + c] = sum_${g};`))}
    }
  }
  ${
    single
      ? ''
      : `if (lane == 0u) {
    let stats = params.tokens * params.heads * params.spans * params.width;
    ${heads((g) => `scratch[stats + (group.z * params.heads + group.y * share + ${g}u) * params.spans + group.x] = vec4<f32>(top_${g}, total_${g}, 0.0, 0.0);`)}
  }`
  }
}`;
}
