import { AlloyError } from '../util/errors.ts';
import type { ByteSink } from '../util/fileSource.ts';
import { type SafetensorsFile, type TensorToWrite, writeSafetensors } from './safetensors.ts';

export const peftConfigFile = 'adapter_config.json';
export const peftTensorFile = 'adapter_model.safetensors';

/** The low-rank delta of one matrix: `ΔW = scale · B · A`. */
export interface LoraMatrix {
  /** The module's name in the base model, without `.weight`: `model.layers.0.mlp.down_proj`. */
  readonly module: string;
  readonly rank: number;
  /** alpha / r, or alpha / √r for rank-stabilised adapters. */
  readonly scale: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** [rank, inFeatures] f32 */
  readonly a: Float32Array<ArrayBuffer>;
  /** [outFeatures, rank] f32 */
  readonly b: Float32Array<ArrayBuffer>;
}

/** A PEFT LoRA adapter. */
export interface PeftAdapter {
  readonly baseModel: string | null;
  /** Whether the base keeps its matrices [in, out] (GPT-2); the factors lie as always. */
  readonly fanInFanOut?: boolean;
  readonly matrices: readonly LoraMatrix[];
}

interface PeftConfig {
  readonly baseModel: string | null;
  readonly rank: number;
  readonly alpha: number;
  readonly rankStabilised: boolean;
  readonly ranks: readonly (readonly [string, number])[];
  readonly alphas: readonly (readonly [string, number])[];
}

/**
 * Variants that change the formula; an adapter that uses one would be applied wrongly. `fan_in_fan_out` is none: it says
 * that the base keeps its matrices [in, out] (GPT-2), A and B lie as always.
 */
const unsupportedFlags = ['use_dora', 'use_qalora', 'use_bdlora', 'lora_bias'] as const;
const tensorPrefix = 'base_model.model.';

function fail(file: string, what: string): AlloyError {
  return new AlloyError('bad-file', `${file}: ${what}; get the adapter again.`);
}

function unsupported(file: string, what: string): AlloyError {
  return new AlloyError('unsupported', `${file}: ${what}; use a plain LoRA adapter.`);
}

function record(file: string, value: unknown, field: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw fail(file, `${field} is not an object`);
}

function positive(file: string, value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  throw fail(file, `${field} is ${JSON.stringify(value) ?? 'missing'}, not a positive number`);
}

/** `rank_pattern` and `alpha_pattern`: module names, or their endings, with numbers. */
function patterns(file: string, value: unknown, field: string): [string, number][] {
  if (value === undefined || value === null) return [];
  return Object.entries(record(file, value, field)).map(([pattern, number]) => {
    const name = pattern.replaceAll('\\.', '.').replace(/^\^/, '').replace(/\$$/, '');
    if (!/^[\w.-]+$/.test(name))
      throw unsupported(file, `${field} has the expression ${JSON.stringify(pattern)}, not a module name`);
    return [name, positive(file, number, `${field}.${pattern}`)];
  });
}

function parseConfig(json: unknown, file: string): PeftConfig {
  const config = record(file, json, 'the document');
  if (config.peft_type !== 'LORA')
    throw unsupported(file, `peft_type is ${JSON.stringify(config.peft_type) ?? 'missing'}, not "LORA"`);
  for (const flag of unsupportedFlags)
    if (config[flag]) throw unsupported(file, `${flag} is set, which Alloy does not support`);
  if (config.bias !== undefined && config.bias !== 'none')
    throw unsupported(file, `bias is ${JSON.stringify(config.bias)}, not "none"`);
  const base = config.base_model_name_or_path;
  return {
    baseModel: typeof base === 'string' ? base : null,
    rank: positive(file, config.r, 'r'),
    alpha: positive(file, config.lora_alpha, 'lora_alpha'),
    rankStabilised: config.use_rslora === true,
    ranks: patterns(file, config.rank_pattern, 'rank_pattern'),
    alphas: patterns(file, config.alpha_pattern, 'alpha_pattern'),
  };
}

function patternValue(
  pairs: readonly (readonly [string, number])[],
  module: string,
  otherwise: number,
): number {
  const found = pairs.find(([name]) => module === name || module.endsWith(`.${name}`));
  return found?.[1] ?? otherwise;
}

/** Groups the tensors of the file into (A, B) of each module. */
function pairTensors(tensors: SafetensorsFile): Map<string, { a?: string; b?: string }> {
  const file = tensors.source.name;
  const pairs = new Map<string, { a?: string; b?: string }>();
  for (const name of tensors.tensors.keys()) {
    const [, module, side] = /^base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(name) ?? [];
    if (module === undefined)
      throw unsupported(file, `the tensor ${JSON.stringify(name)} is no LoRA matrix of a linear layer`);
    const pair = pairs.get(module) ?? {};
    pairs.set(module, pair);
    pair[side === 'A' ? 'a' : 'b'] = name;
  }
  return pairs;
}

/**
 * Reads a PEFT LoRA adapter: `adapter_config.json` (parsed JSON) and `adapter_model.safetensors`.
 * @throws AlloyError `bad-file` for what does not fit together, `unsupported` for other PEFT methods and variants
 */
export async function readPeft(
  configJson: unknown,
  tensors: SafetensorsFile,
  configName = peftConfigFile,
): Promise<PeftAdapter> {
  const file = tensors.source.name;
  const config = parseConfig(configJson, configName);
  const matrices: LoraMatrix[] = [];
  for (const [module, { a, b }] of pairTensors(tensors)) {
    if (a === undefined || b === undefined)
      throw fail(file, `the module ${module} has lora_${a === undefined ? 'B' : 'A'} but not the other`);
    const rank = patternValue(config.ranks, module, config.rank);
    const [rankA, inFeatures = 0, ...moreA] = tensors.entry(a).shape;
    const [outFeatures = 0, rankB, ...moreB] = tensors.entry(b).shape;
    if (rankA !== rank || rankB !== rank || moreA.length + moreB.length > 0) {
      throw fail(
        file,
        `the module ${module} has A [${tensors.entry(a).shape.join(', ')}] and B [${tensors.entry(b).shape.join(', ')}], which does not fit the rank ${rank} of ${configName}`,
      );
    }
    const alpha = patternValue(config.alphas, module, config.alpha);
    matrices.push({
      module,
      rank,
      scale: alpha / (config.rankStabilised ? Math.sqrt(rank) : rank),
      inFeatures,
      outFeatures,
      a: await finite(tensors, a),
      b: await finite(tensors, b),
    });
  }
  if (matrices.length === 0) throw fail(file, 'it has no LoRA matrices');
  return { baseModel: config.baseModel, matrices };
}

async function finite(tensors: SafetensorsFile, name: string): Promise<Float32Array<ArrayBuffer>> {
  const values = await tensors.readFloat32(name);
  if (values.every(Number.isFinite)) return values;
  throw fail(tensors.source.name, `the tensor ${JSON.stringify(name)} holds numbers that are not finite`);
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((x, y) => y[1] - x[1])[0]?.[0] ?? 1;
}

/** Short names (`q_proj`) where every layer has the module, else full names. */
function targetModules(matrices: readonly LoraMatrix[], layers: number): string[] {
  const counts = new Map<string, number>();
  const shortName = (module: string) => module.slice(module.lastIndexOf('.') + 1);
  for (const { module } of matrices) counts.set(shortName(module), (counts.get(shortName(module)) ?? 0) + 1);
  const names = matrices.map(({ module }) => {
    const short = shortName(module);
    return counts.get(short) === layers ? short : module;
  });
  return [...new Set(names)].sort();
}

/**
 * The text of `adapter_config.json`.
 * @param layers layers of the base model: decides whether `target_modules` can use short names
 */
export function peftConfigText(adapter: PeftAdapter, layers: number): string {
  const { matrices } = adapter;
  const rank = mostFrequent(matrices.map((matrix) => matrix.rank));
  const alphaOf = (matrix: LoraMatrix) => matrix.scale * matrix.rank;
  const alpha = mostFrequent(matrices.filter((matrix) => matrix.rank === rank).map(alphaOf));
  const others = (value: (matrix: LoraMatrix) => number, usual: number) =>
    Object.fromEntries(
      matrices.filter((matrix) => value(matrix) !== usual).map((matrix) => [matrix.module, value(matrix)]),
    );
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: adapter.baseModel,
    inference_mode: true,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    target_modules: targetModules(matrices, layers),
    rank_pattern: others((matrix) => matrix.rank, rank),
    alpha_pattern: others(alphaOf, alpha),
    bias: 'none',
    fan_in_fan_out: adapter.fanInFanOut ?? false,
    modules_to_save: null,
    use_dora: false,
    use_rslora: false,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** Writes `adapter_model.safetensors` in F32. */
export async function writePeftTensors(sink: ByteSink, adapter: PeftAdapter): Promise<void> {
  const bytesOf = (values: Float32Array<ArrayBuffer>) =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const tensors = adapter.matrices.flatMap((matrix): TensorToWrite[] => {
    const { module, rank, inFeatures, outFeatures, a, b } = matrix;
    const name = (side: 'A' | 'B') => `${tensorPrefix}${module}.lora_${side}.weight`;
    return [
      { name: name('A'), dtype: 'F32', shape: [rank, inFeatures], read: () => bytesOf(a) },
      { name: name('B'), dtype: 'F32', shape: [outFeatures, rank], read: () => bytesOf(b) },
    ];
  });
  await writeSafetensors(sink, tensors);
}
