/**
 * Cross-entropy and sparse distillation on a chunk of logits, and their gradient written over the logits.
 *
 * Per row, Q = softmax(z), label y, kept teacher entries (v_a, π_a):
 *   CE = −log Q[y]
 *   KD 'sparse' = −Σ π_a log Q[v_a]                                 gradient S·Q − P, S = Σ π_a
 *   KD 'tail'   = −Σ π_a log Q[v_a] − t⊥ log q⊥                     gradient Q − P on kept ids, Q·(1 − t⊥/q⊥) elsewhere
 * with t⊥ = max(0, 1 − Σ π), q⊥ = max(Σ of Q over all ids that are not kept, 1e-6) and the quotient capped. 'sparse' takes
 * rows that were renormalised and rows as cut from the full softmax alike. The tail mass q⊥ is summed over the ids that
 * are not kept instead of subtracted from 1, so it keeps its digits when it is small.
 *
 * Two dispatches. Statistics: one group of 256 threads a row, one pass over the row. Gradient: 4096 logits a group; the
 * threads that hold a kept id or the label read its logit first, then all write the dense part, then those threads
 * correct their entry, so no id is searched for.
 */
import {
  type BufferSpec,
  type Dispatch,
  defineKernel,
  dispatch,
  type Kernel,
  madeOnce,
  read,
  write,
} from '../device/kernel.ts';
import { AlloyError } from '../util/errors.ts';
import { SOFT_CAP } from './elementwise.ts';
import { ADD_FOUR, LOAD_FOUR, LOWEST, ROW_REDUCE, ROW_THREADS, ROW_TURN } from './rowScan.ts';

export type TeacherMode = 'sparse' | 'tail';

/** Teacher rows of the whole batch, `kept` entries a row of which `counts[row]` are used; ids unique within a row. */
export interface SparseTeacher<B> {
  readonly mode: TeacherMode;
  /** u32 [rows, kept] */
  readonly ids: B;
  /** f32 [rows, kept] */
  readonly probs: B;
  /** u32 [rows]; 0 = no teacher for this row */
  readonly counts: B;
  /** At most 255. */
  readonly kept: number;
  /** Largest t⊥/q⊥ in the gradient of 'tail'; 10 unless told. */
  readonly ratioLimit?: number;
}

export interface HeadLossBuffers<B> {
  /** f32 [chunkRows, vocabulary]: raw logits; holds dL/dlogits afterwards where a gradient is asked for. */
  readonly logits: B;
  /** i32 [rows]; negative (−100) = no label */
  readonly labels: B;
  /** f32 [rows, 2] = (weight of CE, weight of KD) with the means' divisors inside; only the gradient reads them. */
  readonly weights: B;
  /** f32 [rows, 2], written: CE of the row or 0, KD of the row or 0, both unweighted, nats */
  readonly losses: B;
  /** f32 [rows, 4], written: log-sum-exp, S, t⊥/q⊥ (capped), 1 where the label is among the kept ids */
  readonly stats: B;
  readonly teacher?: SparseTeacher<B>;
}

export interface HeadLossShape {
  /** First row of the chunk in the batch. */
  readonly rowStart: number;
  readonly chunkRows: number;
  readonly vocabulary: number;
}

export interface HeadLossOptions {
  readonly gradient: boolean;
  /** Soft cap of the logits, 0 = none: the loss is of cap·tanh(z / cap), the gradient that of the raw z. */
  readonly cap?: number;
}

type Mode = TeacherMode | 'none';

/** What kernels in WASM call the modes. */
const MODE_NUMBERS: Readonly<Record<Mode, number>> = { none: 0, sparse: 1, tail: 2 };

const THREADS = ROW_THREADS;
const SEGMENT = THREADS * 16;
const MAX_KEPT = THREADS - 1;

const OWNERS = `
var<workgroup> first_kept: array<atomic<u32>, ${THREADS}>;
// The smallest kept id above 'after' that this thread will meet (the ids of one thread are equal modulo ${THREADS}).
fn following(at: u32, count: u32, after: u32) -> u32 {
  var found = 0xffffffffu;
  for (var e = 0u; e < count; e++) {
    let id = teacherIds[at + e];
    if (id > after && id % ${THREADS}u == after % ${THREADS}u) { found = min(found, id); }
  }
  return found;
}`;

const FIND_FIRST_KEPT = `
  atomicStore(&first_kept[lane], 0xffffffffu);
  workgroupBarrier();
  if (lane < count) { let id = teacherIds[at + lane]; atomicMin(&first_kept[id % ${THREADS}u], id); }
  workgroupBarrier();
  var next = atomicLoad(&first_kept[lane]);`;

function statsCode(mode: Mode, capped: boolean): string {
  const tail = mode === 'tail';
  return `
${capped ? SOFT_CAP : ''}
${tail ? OWNERS : ''}
${ROW_REDUCE}
var<workgroup> kept_label: f32;
fn logit(row: u32, j: u32) -> f32 {
  let z = logits[row * params.vocabulary + j];
  return ${capped ? 'soft_cap(z, params.cap)' : 'z'};
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let r = params.rowStart + row;
  let vocabulary = params.vocabulary;
  let label = labels[r];
  let labelled = label >= 0 && u32(label) < vocabulary;
  ${mode === 'none' ? '' : 'let at = r * params.kept; let count = min(teacherCounts[r], params.kept);'}
  ${tail ? FIND_FIRST_KEPT : ''}
  var peak = ${LOWEST};
  var sum = 0.0;
  for (var j = lane; j < vocabulary; j += ${ROW_TURN}u) {
    ${LOAD_FOUR}
    var used = select(vec4<f32>(0.0), vec4<f32>(1.0), inside);
    ${
      tail
        ? `while (next < j + ${ROW_TURN}u) {
      used[(next - j) / ${THREADS}u] = 0.0;
      next = following(at, count, next);
    }`
        : ''
    }
    ${ADD_FOUR}
  }
  let merged = merge_softmax(lane, peak, sum);
  let top = merged.x;
  var total = merged.y;
  ${mode === 'none' ? '' : teacherCode(tail)}
  ${mode === 'none' ? 'let log_total = log(total);' : ''}
  if (lane == 0u) {
    var ce = 0.0;
    if (labelled) { ce = (top - logit(row, u32(label))) + log_total; }
    losses[2u * r] = ce;
    stats[4u * r] = top + log_total;
    ${mode === 'none' ? NO_TEACHER_STATS : TEACHER_STATS}
  }
}`;
}

const NO_TEACHER_STATS = `
    losses[2u * r + 1u] = 0.0;
    stats[4u * r + 1u] = 0.0;
    stats[4u * r + 2u] = 0.0;
    stats[4u * r + 3u] = 0.0;`;

const TEACHER_STATS = `
    losses[2u * r + 1u] = select(0.0, kd, count > 0u);
    stats[4u * r + 1u] = mass;
    stats[4u * r + 2u] = ratio;
    stats[4u * r + 3u] = kept_label;`;

function teacherCode(tail: boolean): string {
  return `
  var probability = 0.0;
  var kept_logit = 0.0;
  let mine = lane < count && teacherIds[at + min(lane, params.kept - 1u)] < vocabulary;
  if (mine) { probability = teacherProbs[at + lane]; kept_logit = logit(row, teacherIds[at + lane]); }
  if (mine && labelled && teacherIds[at + lane] == u32(label)) { kept_label = 1.0; }
  ${
    tail
      ? `let rest = total;
  total = rest + add_up(lane, select(0.0, exp(kept_logit - top), mine), 0.0).x;`
      : ''
  }
  let log_total = log(total);
  let added = add_up(lane, probability, probability * ((top - kept_logit) + log_total));
  var mass = added.x;
  var kd = added.y;
  var ratio = 0.0;
  ${
    tail
      ? `let missing = max(0.0, 1.0 - mass);
  let outside = max(rest / total, 1e-6);
  mass += missing;
  kd -= missing * log(outside);
  ratio = min(missing / outside, params.ratioLimit);`
      : ''
  }`;
}

function gradientCode(mode: Mode, capped: boolean): string {
  const teacher = mode !== 'none';
  return `
${capped ? SOFT_CAP : ''}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y;
  let r = params.rowStart + row;
  let begin = group.x * ${SEGMENT}u;
  let end = min(begin + ${SEGMENT}u, params.vocabulary);
  let base = row * params.vocabulary;
  let label = labels[r];
  let labelled = label >= 0 && u32(label) < params.vocabulary;
  let count = ${teacher ? 'min(teacherCounts[r], params.kept)' : '0u'};
  let ce = select(0.0, weights[2u * r], labelled);
  let kd = select(0.0, weights[2u * r + 1u], count > 0u);
  if (ce == 0.0 && kd == 0.0) {
    for (var j = begin + lane; j < end; j += ${THREADS}u) { logits[base + j] = 0.0; }
    return;
  }
  let lse = stats[4u * r];
  let mass = stats[4u * r + 1u];
  let on_kept = ce + kd * mass;
  let elsewhere = ce + kd * (mass - stats[4u * r + 2u]);

  // The entry that this thread corrects: one kept id, or (the thread after them) a label that is not kept.
  var id = 0xffffffffu;
  var push = 0.0;
  var coefficient = on_kept;
  ${
    teacher
      ? `if (lane < count) {
    id = teacherIds[r * params.kept + lane];
    push = kd * teacherProbs[r * params.kept + lane];
    if (labelled && id == u32(label)) { push += ce; }
  }`
      : ''
  }
  if (lane == count && labelled && stats[4u * r + 3u] == 0.0) {
    id = u32(label);
    push = ce;
    coefficient = elsewhere;
  }
  let mine = id >= begin && id < end;
  var corrected = 0.0;
  if (mine) {
    let z = logits[base + id];
    ${capped ? 'let y = soft_cap(z, params.cap); let slope = soft_cap_slope(z, params.cap);' : 'let y = z;'}
    corrected = (coefficient * exp(y - lse) - push)${capped ? ' * slope' : ''};
  }
  storageBarrier();
  for (var j = begin + lane; j < end; j += ${THREADS}u) {
    let z = logits[base + j];
    logits[base + j] = elsewhere * ${
      capped ? 'exp(soft_cap(z, params.cap) - lse) * soft_cap_slope(z, params.cap)' : 'exp(z - lse)'
    };
  }
  storageBarrier();
  if (mine) { logits[base + id] = corrected; }
}`;
}

const kernelFor = madeOnce((part: 'stats' | 'gradient', mode: Mode, capped: boolean): Kernel => {
  const name = `headLoss.${part}.${mode}${capped ? '.capped' : ''}`;
  const teacher: Record<string, BufferSpec> =
    mode === 'none' ? {} : { teacherIds: read('u32'), teacherProbs: read('f32'), teacherCounts: read('u32') };
  return part === 'stats'
    ? defineKernel({
        name,
        buffers: {
          logits: read('f32'),
          labels: read('i32'),
          ...teacher,
          losses: write('f32'),
          stats: write('f32'),
        },
        params: { rowStart: 'u32', vocabulary: 'u32', kept: 'u32', cap: 'f32', ratioLimit: 'f32' },
        code: statsCode(mode, capped),
        wasm: { name: 'headLossStats', constants: [MODE_NUMBERS[mode]], pieces: (_, [rows]) => rows },
      })
    : defineKernel({
        name,
        buffers: {
          logits: write('f32'),
          labels: read('i32'),
          weights: read('f32'),
          stats: read('f32'),
          ...teacher,
        },
        params: { rowStart: 'u32', vocabulary: 'u32', kept: 'u32', cap: 'f32' },
        code: gradientCode(mode, capped),
        wasm: {
          name: 'headLossGradient',
          constants: [MODE_NUMBERS[mode]],
          pieces: (_, [segments, rows]) => segments * rows,
        },
      });
});

/**
 * Losses of the rows rowStart … rowStart + chunkRows of the batch, and with `gradient` the logits overwritten by
 * Σ weights · dloss/dlogits (exactly 0 in rows whose weights are 0 or that have neither label nor teacher).
 * @throws AlloyError `internal` for more than 255 kept entries
 */
export function headLoss<B>(
  buffers: HeadLossBuffers<B>,
  shape: HeadLossShape,
  options: HeadLossOptions,
): Dispatch<B>[] {
  const { logits, labels, weights, losses, stats, teacher } = buffers;
  const { rowStart, chunkRows, vocabulary } = shape;
  const withTeacher = teacher !== undefined && teacher.kept > 0;
  const mode = withTeacher ? teacher.mode : 'none';
  const kept = withTeacher ? teacher.kept : 0;
  if (kept > MAX_KEPT)
    throw new AlloyError('internal', `headLoss: ${kept} kept entries, at most ${MAX_KEPT}`);
  const cap = options.cap ?? 0;
  const rows: Record<string, B> = withTeacher
    ? { teacherIds: teacher.ids, teacherProbs: teacher.probs, teacherCounts: teacher.counts }
    : {};
  const params = { rowStart, vocabulary, kept, cap, ratioLimit: teacher?.ratioLimit ?? 10 };
  const first = dispatch(
    kernelFor('stats', mode, cap > 0),
    { logits, labels, losses, stats, ...rows },
    params,
    [chunkRows, 1, 1],
  );
  if (!options.gradient) return [first];
  const second = dispatch(
    kernelFor('gradient', mode, cap > 0),
    { logits, labels, weights, stats, ...rows },
    params,
    [Math.ceil(vocabulary / SEGMENT), chunkRows, 1],
  );
  return [first, second];
}
