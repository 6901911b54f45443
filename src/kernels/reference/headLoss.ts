import type { TeacherMode } from '../headLoss.ts';
import { softCapReference, softCapSlopeReference } from './elementwise.ts';

export interface HeadLossCase {
  readonly rows: number;
  readonly vocabulary: number;
  /** [rows, vocabulary] */
  readonly logits: ArrayLike<number>;
  /** [rows], negative = none */
  readonly labels: ArrayLike<number>;
  /** [rows, 2] */
  readonly weights: ArrayLike<number>;
  readonly cap?: number;
  readonly teacher?: {
    readonly mode: TeacherMode;
    readonly kept: number;
    readonly ids: ArrayLike<number>;
    readonly probs: ArrayLike<number>;
    readonly counts: ArrayLike<number>;
    readonly ratioLimit?: number;
  };
}

export interface HeadLossResult {
  /** [rows, 2]: CE and KD, unweighted */
  readonly losses: Float64Array;
  /** [rows] */
  readonly lse: Float64Array;
  /** [rows, vocabulary] */
  readonly gradient: Float64Array;
}

/** What headLoss.ts states, in double precision and by definition: dense softmax, dense teacher row. */
export function headLossReference(given: HeadLossCase): HeadLossResult {
  const { rows, vocabulary } = given;
  const losses = new Float64Array(rows * 2);
  const lse = new Float64Array(rows);
  const gradient = new Float64Array(rows * vocabulary);
  for (let row = 0; row < rows; row++) {
    const result = rowLoss(given, row);
    losses.set([result.ce, result.kd], row * 2);
    lse[row] = result.lse;
    gradient.set(result.gradient, row * vocabulary);
  }
  return { losses, lse, gradient };
}

function rowLoss(given: HeadLossCase, row: number) {
  const { vocabulary } = given;
  const cap = given.cap ?? 0;
  const raw = Float64Array.from({ length: vocabulary }, (_, j) => given.logits[row * vocabulary + j] ?? 0);
  const z = cap > 0 ? raw.map((value) => softCapReference(value, cap)) : raw;
  const top = z.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exps = z.map((value) => Math.exp(value - top));
  const total = exps.reduce((a, b) => a + b, 0);
  const lse = top + Math.log(total);
  const q = exps.map((value) => value / total);
  const gradient = new Float64Array(vocabulary);

  const label = given.labels[row] ?? -100;
  const ceWeight = given.weights[2 * row] ?? 0;
  let ce = 0;
  if (label >= 0) {
    ce = lse - (z[label] ?? 0);
    for (let j = 0; j < vocabulary; j++) gradient[j] = ceWeight * ((q[j] ?? 0) - (j === label ? 1 : 0));
  }
  const kd = addTeacher(given, row, { z, q, lse }, gradient);
  if (cap > 0) {
    for (let j = 0; j < vocabulary; j++)
      gradient[j] = (gradient[j] ?? 0) * softCapSlopeReference(raw[j] ?? 0, cap);
  }
  return { ce, kd, lse, gradient };
}

function addTeacher(
  given: HeadLossCase,
  row: number,
  { z, q, lse }: { z: Float64Array; q: Float64Array; lse: number },
  gradient: Float64Array,
): number {
  const { teacher } = given;
  const count = teacher?.counts[row] ?? 0;
  if (!teacher || count === 0) return 0;
  const weight = given.weights[2 * row + 1] ?? 0;
  const target = new Map<number, number>();
  for (let e = 0; e < count; e++)
    target.set(teacher.ids[row * teacher.kept + e] ?? 0, teacher.probs[row * teacher.kept + e] ?? 0);
  const sum = [...target.values()].reduce((a, b) => a + b, 0);
  let kd = 0;
  for (const [id, probability] of target) kd += probability * (lse - (z[id] ?? 0));
  let mass = sum;
  let ratio = 0;
  if (teacher.mode === 'tail') {
    const missing = Math.max(0, 1 - sum);
    const outside = Math.max(
      q.reduce((a, b, j) => (target.has(j) ? a : a + b), 0),
      1e-6,
    );
    kd -= missing * Math.log(outside);
    mass += missing;
    ratio = Math.min(missing / outside, teacher.ratioLimit ?? 10);
  }
  for (let j = 0; j < q.length; j++) {
    const probability = target.get(j);
    const dense = (q[j] ?? 0) * (probability === undefined ? mass - ratio : mass);
    gradient[j] = (gradient[j] ?? 0) + weight * (dense - (probability ?? 0));
  }
  return kd;
}
