/** What a finished merge is made of, as `merge.json` of a run's folder keeps it. */
import { z } from 'zod';
import type { LiveMerge, LiveMethod, MatrixStats } from '../merge/liveMerge.ts';
import { AlloyError, required } from '../util/errors.ts';
import { fieldProblems } from '../util/schemaIssue.ts';
import type { OpenModel } from './openModel.ts';
import type { Recipe } from './recipe.ts';

const methodSchema = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('sce'),
    variant: z.enum(['fork', 'paper', 'upstream']),
    tau: z.number().gt(0).max(1),
  }),
  z.looseObject({ kind: z.literal('linear'), weights: z.array(z.number()).optional() }),
]);

const matrixSchema = z.looseObject({
  /** Hugging Face's module name. */
  module: z.string(),
  /** `[out, in]` */
  shape: z.tuple([z.int().min(1), z.int().min(1)]),
  /** One a source: the merge weights in force, and those that the method computed. */
  weights: z.array(z.number()).min(1),
  computed: z.array(z.number()).min(1),
});

const mergeSchema = z.looseObject({
  version: z.literal(1),
  method: methodSchema,
  /** The model that the deltas belong to. */
  pivot: z.looseObject({ name: z.string(), identity: z.string() }),
  sources: z.array(z.looseObject({ name: z.string(), adapter: z.string() })).min(1),
  matrices: z.array(matrixSchema).min(1),
});

export type MergeFile = z.infer<typeof mergeSchema>;

/** @param sources names and folders of the adapters, in the merge's order */
export async function describeMerge(
  merge: LiveMerge,
  { name, identity }: Pick<OpenModel, 'name' | 'identity'>,
  sources: readonly { readonly name: string; readonly adapter: string }[],
): Promise<MergeFile> {
  return {
    version: 1,
    method: { ...merge.method } as MergeFile['method'],
    pivot: { name, identity },
    sources: sources.map((source) => ({ ...source })),
    norm: await merge.norm(),
    matrices: merge.stats.map((stats, index) => ({
      module: stats.path,
      shape: [stats.rows, stats.columns],
      weights: [...required(merge.weights[index], stats.path)],
      computed: [...required(merge.computed[index], stats.path)],
      ...statistics(stats),
    })),
  };
}

/** Norms of the deltas, cosines between them, and where their signs disagree. */
function statistics({ sources, pairs, conflict }: MatrixStats) {
  const norm = (index: number) => Math.sqrt(sources[index]?.energy ?? 0);
  return {
    norms: sources.map((_, index) => norm(index)),
    cosines: pairs.map(({ first, second, dot }) => {
      const size = norm(first) * norm(second);
      return { first, second, cosine: size > 0 ? dot / size : 0 };
    }),
    conflict,
  };
}

/** As JSON with a line for each matrix. */
export function mergeText({ matrices, ...head }: MergeFile): string {
  const lines = matrices.map((one) => `    ${JSON.stringify(one)}`).join(',\n');
  const start = JSON.stringify(head, null, 2).replace(/\n\}$/u, '');
  return `${start},\n  "matrices": [\n${lines}\n  ]\n}\n`;
}

/** @throws AlloyError `bad-file` naming the file and the field */
export function parseMergeFile(document: unknown, file: string): MergeFile {
  const parsed = mergeSchema.safeParse(document);
  const problem = parsed.success
    ? wrongCount(parsed.data)
    : fieldProblems(parsed.error.issues, document).map(({ field, what }) => `${field}: ${what}`)[0];
  if (!parsed.success || problem !== undefined) {
    throw new AlloyError('bad-file', `${file}: ${problem}; run the fusion again to write it anew.`);
  }
  return parsed.data;
}

function wrongCount({ sources, matrices }: MergeFile): string | undefined {
  const wrong = matrices.find(({ weights }) => weights.length !== sources.length);
  return wrong && `${wrong.module} has ${wrong.weights.length} weights for ${sources.length} sources`;
}

/** The method that a recipe names. */
export function recipeMethod({ merge }: Recipe): LiveMethod {
  return merge.method === 'sce'
    ? { kind: 'sce', variant: merge.variant, tau: merge.tau }
    : { kind: 'linear', weights: merge.weights };
}

/** The method of a finished merge. */
export function liveMethod({ method }: MergeFile): LiveMethod {
  return method.kind === 'sce'
    ? { kind: 'sce', variant: method.variant, tau: method.tau }
    : { kind: 'linear', weights: method.weights };
}
