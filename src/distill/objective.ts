/**
 * L = λ · (supervised mean) + (1 − λ) · (distillation mean), over all rows of an optimizer step (methods C.1, J13), so
 * neither micro-batches nor the length of a conversation change what a row weighs.
 */

/** Which count divides the distillation term. */
export type DistillDivisor =
  /** Rows that have a teacher: the mean over them (methods C.2), so the term keeps its size at any coverage. */
  | 'teacher-rows'
  /** All trained rows: every row weighs the same, so few teacher rows make a small term (distillation.md 8.8). */
  | 'trained-rows';

/** The rows of one optimizer step, micro-batches one after another. */
export interface StepRows {
  /** [rows] 1 where the row has a label. */
  readonly supervised: ArrayLike<number>;
  /** [rows] above 0 where it has a teacher, e.g. `counts`; a teacher without a label is not trained on. */
  readonly teacher: ArrayLike<number>;
}

export interface RowWeights {
  /** [rows, 2] (weight of the supervised term, weight of the distillation term). */
  readonly weights: Float32Array;
  /** n */
  readonly supervisedRows: number;
  /** Rows with a teacher. */
  readonly teacherRows: number;
}

/**
 * Weight of each row's two terms. λ = 1 is plain SFT; a step without teacher rows has the supervised term alone, still
 * times λ, so that its step is no longer than its neighbours'.
 */
export function rowWeights(
  { supervised, teacher }: StepRows,
  lambda: number,
  divisor: DistillDivisor = 'teacher-rows',
): RowWeights {
  const count = supervised.length;
  const labelled = (row: number) => supervised[row] === 1;
  const taught = (row: number) => labelled(row) && (teacher[row] ?? 0) > 0;
  let supervisedRows = 0;
  let teacherRows = 0;
  for (let row = 0; row < count; row++) {
    if (labelled(row)) supervisedRows++;
    if (taught(row)) teacherRows++;
  }
  const divideBy = divisor === 'teacher-rows' ? teacherRows : supervisedRows;
  const weights = new Float32Array(count * 2);
  for (let row = 0; row < count; row++) {
    if (labelled(row)) weights[row * 2] = lambda / supervisedRows;
    if (taught(row)) weights[row * 2 + 1] = (1 - lambda) / divideBy;
  }
  return { weights, supervisedRows, teacherRows };
}

/** The means of a step's losses, for the log. */
export interface StepLoss {
  /** Nats a supervised row; NaN without one. */
  readonly supervised: number;
  /** Nats a row with a teacher; NaN without one. */
  readonly distillation: number;
  /** What is minimised. */
  readonly total: number;
}

/** @param losses [rows, 2] unweighted nats, as the kernels write them. */
export function stepLoss(losses: ArrayLike<number>, { weights, ...rows }: RowWeights): StepLoss {
  let supervised = 0;
  let distillation = 0;
  let total = 0;
  for (let at = 0; at < weights.length; at += 2) {
    const [ce, kd] = [losses[at] ?? 0, losses[at + 1] ?? 0];
    if ((weights[at] ?? 0) !== 0) total += ce * (weights[at] ?? 0);
    if ((weights[at + 1] ?? 0) !== 0) total += kd * (weights[at + 1] ?? 0);
    supervised += ce;
    distillation += kd;
  }
  return {
    supervised: rows.supervisedRows > 0 ? supervised / rows.supervisedRows : Number.NaN,
    distillation: rows.teacherRows > 0 ? distillation / rows.teacherRows : Number.NaN,
    total,
  };
}
