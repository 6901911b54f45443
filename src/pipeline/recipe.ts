import { z } from 'zod';
import type { Recomputation } from '../graph/recompute.ts';
import type { Optimizer } from '../models/parameters.ts';
import { parseBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import { fieldProblems } from '../util/schemaIssue.ts';

/** A built-in name, a Hugging Face folder, a `.gguf` file, a finished run, or a model of the hub (`hub:OWNER/NAME@REVISION`). */
const modelReference = z.string().min(1);

const lossMode = z.enum(['tail', 'renormalised']);

const trainSchema = z.strictObject({
  rank: z.int().min(1).max(256).default(16),
  alpha: z.number().positive().default(32),
  /**
   * Which projections get an adapter, in every layer: all linear ones, or some by name. Where the pivot has several of them
   * fused in one matrix (`qkv`, `gateUp`), any of their names means that one.
   */
  matrices: z
    .union([
      z.literal('all'),
      z.array(z.enum(['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'gateUp', 'down'])).min(1),
    ])
    .default('all'),
  learningRate: z.number().positive().default(2e-4),
  /** Sequences in one optimizer step; `microBatch` of them go through the GPU at once. */
  batch: z.int().min(1).default(16),
  microBatch: z.int().min(1).optional(),
  epochs: z.number().positive().default(3),
  /** Overrides `epochs`. */
  steps: z.int().min(1).optional(),
  warmup: z.number().min(0).max(1).default(0.03),
  weightDecay: z.number().min(0).default(0),
  clip: z.number().positive().default(1),
  beta1: z.number().min(0).max(1).default(0.9),
  beta2: z.number().min(0).max(1).default(0.999),
  /** Tokens; longer conversations are cut on the right. */
  maxTokens: z.int().min(8).default(512),
  checkpointEvery: z.int().min(1).default(25),
  /**
   * What the backward pass works out again instead of keeping it: nothing, norms and activations (`light`), or whole layers
   * (`on`). The numbers are the same. `auto` takes the first that fits into `memory.limit`.
   */
  recompute: z.enum(['auto', 'off', 'light', 'on']).default('auto'),
  /** `adamw8bit` keeps the moments in 8 bits; `auto` does so if `memory.limit` asks for it. */
  optimizer: z.enum(['adamw', 'adamw8bit', 'auto']).default('adamw'),
});

const memorySchema = z.strictObject({
  /** What a run may take on the GPU, e.g. `1.5GB`; without one, as much as there is. */
  limit: z
    .union([z.number().positive(), z.string()])
    .transform((value, context) => {
      try {
        return typeof value === 'number' ? value : parseBytes(value, 'memory.limit');
      } catch (error) {
        context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : '' });
        return z.NEVER;
      }
    })
    .optional(),
  /** Tokens that go through a model at once while texts are scored; by default what suits the adapter. */
  scoreTokens: z.int().min(1).optional(),
  /** Whether a run that would take more may be made smaller by itself; else it ends before it begins. */
  shrink: z.boolean().default(false),
});

const dataSchema = z.strictObject({
  /**
   * JSON lines: `{"id", "messages": [{"role", "content"}], "domain"?, "accept"?}`; paths are relative to the recipe. An
   * id that ends in `-trim` marks an answer that was cut: its end is not trained.
   */
  train: z.array(z.string().min(1)).min(1),
  /** One evaluation suite per entry; its name is the file's name. */
  heldout: z.array(z.string().min(1)).min(1),
  /** At most this many conversations of each file, chosen by the seed. */
  limit: z.int().min(1).optional(),
  heldoutLimit: z.int().min(1).optional(),
});

export const recipeSchema = z.strictObject({
  version: z.literal(1).default(1),
  name: z.string().min(1),
  seed: z.int().min(0).default(42),
  pivot: modelReference,
  sources: z.array(modelReference).min(1),
  data: dataSchema,
  /** How the models' weights lie on the GPU: as their files have them, or converted while they are loaded. */
  precision: z.enum(['file', 'f32', 'f16', 'q8', 'q4']).default('file'),
  memory: memorySchema.prefault({}),
  represent: z.strictObject({ topK: z.int().min(1).max(64).default(10) }).prefault({}),
  align: z
    .strictObject({
      /** A projected row that keeps less of the source's mass than this counts as unaligned (methods J5). */
      minimumMass: z.number().min(0).max(1).default(0.5),
    })
    .prefault({}),
  fuse: z
    .strictObject({
      /** Weight of the supervised term; the distillation term has the rest (methods C.1). */
      lambda: z.number().min(0).max(1).default(0.9),
      loss: lossMode.default('tail'),
      choice: z.enum(['mince', 'source']).default('mince'),
    })
    .prefault({}),
  train: trainSchema.prefault({}),
  merge: z
    .strictObject({
      method: z.enum(['sce', 'linear']).default('sce'),
      /** SCE's share of elements kept by variance, 0..1 (methods D.2). */
      tau: z.number().gt(0).max(1).default(1),
      variant: z.enum(['fork', 'paper', 'upstream']).default('fork'),
      /** Linear: one weight a source, in the recipe's order; default 1/n each. */
      weights: z.array(z.number()).optional(),
    })
    .prefault({}),
  evaluate: z
    .strictObject({
      bootstrap: z.int().min(100).default(1000),
      /** Greedy answers scored against `accept` (or the final number of a maths answer). */
      accuracy: z.boolean().default(true),
      maxNewTokens: z.int().min(1).default(64),
    })
    .prefault({}),
});

/** A whole fusion as one document (see `recipes/sample.yaml`). Defaults are filled in. */
export type Recipe = z.infer<typeof recipeSchema>;

/** What `train.recompute` means to the trainer; `auto` before anybody has chosen is `off`. */
export function recomputation(choice: Recipe['train']['recompute']): Recomputation {
  if (choice === 'on') return 'full';
  return choice === 'light' ? 'light' : 'off';
}

/** What `train.optimizer` means; `auto` before anybody has chosen is `adamw`. */
export function optimizerOf({ train }: Pick<Recipe, 'train'>): Optimizer {
  return train.optimizer === 'adamw8bit' ? 'adamw8bit' : 'adamw';
}

/**
 * Checks a parsed document and fills in defaults.
 * @throws AlloyError `bad-recipe` with one sentence that names the file and every wrong field.
 */
export function parseRecipe(document: unknown, file: string): Recipe {
  const parsed = recipeSchema.safeParse(document);
  const problems = parsed.success
    ? contradictions(parsed.data)
    : fieldProblems(parsed.error.issues, document).map(({ field, what }) => `${field}: ${what}`);
  if (parsed.success && problems.length === 0) return parsed.data;
  throw new AlloyError('bad-recipe', `${file} is not a valid recipe; correct ${problems.join('; ')}.`);
}

/** What no single field shows. */
function contradictions({ sources, merge }: Recipe): string[] {
  const problems: string[] = [];
  if (merge.weights && merge.weights.length !== sources.length)
    problems.push(
      `merge.weights: ${merge.weights.length} numbers for ${sources.length} sources, give one for each`,
    );
  return problems;
}
