/**
 * Runs recorded cases of merge methods (a document `{"cases": [{"name", "method", "params", "model_params", "inputs", …}]}`) against
 * ours. The recorded numbers are those of a merging toolkit whose SCE is our variant `upstream`.
 */

import { weightedSum } from '../../src/merge/linear.ts';
import { sceMerge } from '../../src/merge/sce.ts';
import { AlloyError } from '../../src/util/errors.ts';

/** Numbers nested to any depth. */
type Nested = number | readonly Nested[];

export interface MergeCase {
  readonly name: string;
  readonly method: string;
  readonly base_model?: string | null;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly model_params?: Readonly<Record<string, { readonly weight?: number }>>;
  readonly input_order?: readonly string[];
  readonly inputs?: Readonly<Record<string, Nested>>;
  readonly expected?: Nested;
  readonly intended_expected?: Nested;
  readonly tol_abs: number;
}

export interface MergeCaseResult {
  readonly name: string;
  /** `skipped`: a method that is not built yet. */
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Largest difference to the recorded numbers. */
  readonly difference: number;
  readonly tolerance: number;
}

/** Rounding of recorded values to nine digits, where a case asks for exactness of f32 results. */
const RECORDED_DIGITS = 1e-9;

/** @throws AlloyError `bad-file` where the document has no list of cases. */
export function runMergeCases(document: unknown, name: string): readonly MergeCaseResult[] {
  if (!hasCases(document)) {
    throw new AlloyError('bad-file', `${name} has no list "cases"; give a file of recorded merge cases.`);
  }
  return document.cases.map((one) => {
    const expected = one.intended_expected ?? one.expected;
    const got = runCase(one);
    if (got === undefined || expected === undefined) {
      return { name: one.name, outcome: 'skipped', difference: 0, tolerance: one.tol_abs };
    }
    const wanted = flatten(expected);
    const difference = wanted.reduce(
      (largest, value, at) => Math.max(largest, Math.abs(value - (got[at] ?? Number.NaN))),
      got.length === wanted.length ? 0 : Number.POSITIVE_INFINITY,
    );
    const passed = difference <= Math.max(one.tol_abs, RECORDED_DIGITS);
    return { name: one.name, outcome: passed ? 'passed' : 'failed', difference, tolerance: one.tol_abs };
  });
}

function runCase(one: MergeCase): Float32Array | undefined {
  const inputs = one.inputs ?? {};
  const names = (one.input_order ?? Object.keys(inputs)).filter((name) => name !== one.base_model);
  const { normalize, lambda, select_topk: topK } = one.params ?? {};
  const weights = names.map((name) => one.model_params?.[name]?.weight ?? 1);
  if (one.method === 'linear') {
    const tensors = cropToCommon(names.map((name) => inputs[name] ?? []));
    return weightedSum(tensors, weights, { normalise: normalize !== false });
  }
  if (one.method !== 'sce' && one.method !== 'task_arithmetic') return undefined;
  const base = Float64Array.from(flatten(inputs[one.base_model ?? ''] ?? []));
  const deltas = names.map((name) => {
    const tensor = flatten(inputs[name] ?? []);
    return base.map((value, at) => (tensor[at] ?? Number.NaN) - value);
  });
  const scale = typeof lambda === 'number' ? lambda : 1;
  const delta =
    one.method === 'sce'
      ? sceMerge(deltas, { variant: 'upstream', tau: typeof topK === 'number' ? topK : 1 }).delta
      : weightedSum(deltas, weights, { normalise: normalize === true });
  return Float32Array.from(base, (value, at) => value + scale * (delta[at] ?? 0));
}

/** Matrices cut to the rows and columns that all of them have; other shapes as they are. */
function cropToCommon(tensors: readonly Nested[]): readonly Float64Array[] {
  const matrices = tensors.map((tensor) => (isMatrix(tensor) ? tensor : undefined));
  const rows = Math.min(...matrices.map((matrix) => matrix?.length ?? 0));
  const columns = Math.min(...matrices.map((matrix) => matrix?.[0]?.length ?? 0));
  return tensors.map((tensor, index) => {
    const cut = matrices[index]?.slice(0, rows).map((row) => row.slice(0, columns));
    return Float64Array.from(flatten(cut ?? tensor));
  });
}

function isMatrix(tensor: Nested): tensor is readonly (readonly Nested[])[] {
  return Array.isArray(tensor) && tensor.every((row: Nested) => Array.isArray(row));
}

function flatten(nested: Nested): readonly number[] {
  return typeof nested === 'number' ? [nested] : nested.flatMap(flatten);
}

function hasCases(document: unknown): document is { readonly cases: readonly MergeCase[] } {
  return (
    typeof document === 'object' && document !== null && 'cases' in document && Array.isArray(document.cases)
  );
}
