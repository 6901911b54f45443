/**
 * Decoder configurations. Both spellings of `config.json` are read: that of transformers 5 (`rope_parameters`,
 * `layer_types`) and the older one that most published models have (`rope_theta`, `rope_scaling`,
 * `sliding_window_pattern`).
 */
import type { Activation } from '../kernels/activation.ts';
import type { RopeScaling } from '../kernels/ropeFrequencies.ts';
import { AlloyError, required } from '../util/errors.ts';
import { fieldProblems } from '../util/schemaIssue.ts';
import { commonConfig } from './commonConfig.ts';
import { rawConfigSchema } from './configFields.ts';
import { FAMILIES, familyOfType } from './families/families.ts';
import { type Family, RARE_FIELDS } from './families/family.ts';

/** Rotary position embedding of a layer. */
export interface Rope {
  readonly theta: number;
  /** Elements of a head that take part in a turn, from its start; even. */
  readonly rot: number;
  /** The divisor of the exponent in `theta^(-2j / dim)`: `rot`, or one less where that was odd. */
  readonly dim: number;
  readonly scaling: RopeScaling | undefined;
}

export interface LayerKind {
  /** Keys a query sees, itself included; 0 = all before it. */
  readonly window: number;
  /** Undefined where the layer does not rotate: learned positions, or none at all. */
  readonly rope: Rope | undefined;
  /** Factor of `q · k`. */
  readonly attentionScale: number;
}

/** The kind of a family's norms. `offset`: they multiply by `offset + w` (1 for Gemma's own files, else 0). */
export type Norm =
  | { readonly kind: 'rms'; readonly eps: number; readonly offset: 0 | 1 }
  | { readonly kind: 'layer'; readonly eps: number };

/** A decoder as numbers: all that is needed beside its tensors. */
export interface DecoderConfig {
  /** The name of a `Family`. */
  readonly family: string;
  readonly vocabSize: number;
  readonly width: number;
  readonly ffn: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: readonly LayerKind[];
  readonly norm: Norm;
  readonly tiedHead: boolean;
  readonly activation: Activation;
  /** Soft caps of attention scores and of logits; 0 = none. */
  readonly attentionCap: number;
  readonly logitCap: number;
  readonly embeddingScale: number;
  /** Factor of what attention and MLP add to the residual stream. */
  readonly residualScale: number;
  /** Factor of the normed rows before the head. */
  readonly headScale: number;
  readonly bias: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean };
  /** Attention and MLP read the same rows (GPT-NeoX). */
  readonly parallelResidual: boolean;
  /** The longest sequence that the model was made for; learned positions have no more rows. */
  readonly maxPositions: number;
  /** The token whose embedding learns nothing (PyTorch's `padding_idx`); its row of a tied head does. */
  readonly padding: number | undefined;
  readonly bos: number | undefined;
  readonly eos: readonly number[];
}

/**
 * Reads a `config.json` (or the like made from a GGUF file's metadata).
 * @throws AlloyError `unsupported` for another architecture or rope scaling, `bad-file` for a field that is missing
 * or of a wrong type; the sentence names the file and the field.
 */
export function parseConfig(json: unknown, file: string): DecoderConfig {
  const document = textConfig(json);
  const kind = document.model_type;
  const family = typeof kind === 'string' ? familyOfType(kind) : undefined;
  if (typeof kind === 'string' && !family) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes);
    throw new AlloyError(
      'unsupported',
      `${file}: the architecture "${kind}" (model_type) is not supported; Alloy runs ${known.join(', ')}.`,
    );
  }
  const named: Record<string, unknown> = { ...family?.defaults };
  for (const [key, value] of Object.entries(document)) {
    if (!isPassedOver(family, key)) named[key] = value;
  }
  for (const [own, usual] of Object.entries(family?.renamed ?? {}))
    if (document[own] !== undefined && document[own] !== null) named[usual] = document[own];
  const refused = family?.refuses?.find((field) => document[field] === true);
  if (refused !== undefined)
    throw new AlloyError(
      'unsupported',
      `${file}: ${refused} is set, which Alloy does not support in ${kind}; use a model without it.`,
    );
  const parsed = rawConfigSchema.safeParse(named);
  if (!parsed.success) {
    const [problem] = fieldProblems(parsed.error.issues, named);
    const own = Object.entries(family?.renamed ?? {}).find(([, usual]) => usual === problem?.field)?.[0];
    throw new AlloyError(
      'bad-file',
      `${file}: the field ${own ?? problem?.field} is wrong (${problem?.what}); use the model's own config.json.`,
    );
  }
  const raw = parsed.data;
  const of = required(family, raw.model_type);
  return checkHeads(of.config(commonConfig(raw, of, file), raw), file);
}

function isPassedOver(family: Family | undefined, key: string): boolean {
  const rare = RARE_FIELDS.find((field) => field === key);
  return (rare !== undefined && !family?.reads?.includes(rare)) || Object.hasOwn(family?.renamed ?? {}, key);
}

/** Rotation pairs elements of a head; an odd one would leave no partner for its last. */
function checkHeads(config: DecoderConfig, file: string): DecoderConfig {
  const wide = config.layers.find(({ rope }) => rope && rope.rot > config.headDim);
  if (!wide) return config;
  throw new AlloyError(
    'bad-file',
    `${file}: the head size ${config.headDim} (hidden_size / num_attention_heads) must be an even whole number; set head_dim.`,
  );
}

/** The part about text of a config of a model that also sees. */
function textConfig(json: unknown): Readonly<Record<string, unknown>> {
  const document = typeof json === 'object' && json !== null ? { ...json } : {};
  if (!('text_config' in document && 'model_type' in document)) return document;
  const { text_config: text, model_type: kind } = document;
  if (kind !== 'gemma3' || typeof text !== 'object' || text === null) return document;
  return { ...text, model_type: 'gemma3_text' };
}
