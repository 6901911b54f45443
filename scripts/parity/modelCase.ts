/** One recorded model: where its files are and what was recorded of it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MicroBatch } from '../../src/distill/trainer.ts';
import { SafetensorsFile } from '../../src/formats/safetensors.ts';
import { openTensorFolder } from '../../src/formats/shardedSafetensors.ts';
import { type DecoderConfig, parseConfig } from '../../src/models/config.ts';
import { familyOf } from '../../src/models/families/families.ts';
import { folderTensors, type TensorSource } from '../../src/models/tensorSource.ts';
import { decoderTensors } from '../../src/models/weights.ts';
import { nodeFileSource } from '../../src/storage/nodeStorage.ts';
import { required } from '../../src/util/errors.ts';

export interface Reference {
  readonly loss: number;
  readonly greedy?: { readonly prompt: number[]; readonly tokens: number[] };
  readonly adamw: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly losses: number[];
    readonly after_one_step: string[];
  };
  readonly lora?: {
    readonly r: number;
    readonly alpha: number;
    readonly loss: number;
    readonly adamw_losses: number[];
  };
  readonly distill?: {
    readonly lambda: number;
    readonly k: number;
    readonly variants: Record<string, { loss: number; ce: number; kd: number }>;
  };
}

export interface Case {
  readonly name: string;
  readonly folder: string;
  readonly config: DecoderConfig;
  readonly source: TensorSource;
  readonly recorded: SafetensorsFile;
  readonly reference: Reference;
  readonly batch: number;
  readonly length: number;
  readonly micro: MicroBatch;
  readonly supervised: number;
}

/** Changes a tensor on its way in, for the test that a wrong weight is noticed. */
export type Tamper = (source: TensorSource) => TensorSource;

export async function openCase(
  folder: string,
  name: string,
  configFile: string,
  tamper: Tamper,
): Promise<Case> {
  const path = join(folder, configFile);
  const config = parseConfig(JSON.parse(readFileSync(path, 'utf8')), path);
  const open = async (file: string) =>
    existsSync(join(folder, file)) ? nodeFileSource(join(folder, file)) : null;
  const source = tamper(folderTensors(await openTensorFolder(open, folder)));
  const recorded = await SafetensorsFile.open(await nodeFileSource(join(folder, 'reference.safetensors')));
  const [batch = 1, length = 1] = required(recorded.tensors.get('input_ids'), 'input_ids').shape;
  const { micro, supervised } = await supervisedBatch(recorded, batch, length);
  const reference = JSON.parse(readFileSync(join(folder, 'reference.json'), 'utf8')) as Reference;
  return { name, folder, config, source, recorded, reference, batch, length, micro, supervised };
}

/** Labels moved to the row that predicts them, each with weight 1/n. */
async function supervisedBatch(
  recorded: SafetensorsFile,
  batch: number,
  length: number,
): Promise<{ micro: MicroBatch; supervised: number }> {
  const tokens = Uint32Array.from(await recorded.readFloat32('input_ids'));
  const given = await recorded.readFloat32('labels');
  const labels = new Int32Array(batch * length).fill(-100);
  for (let row = 0; row < batch; row++) {
    for (let t = 0; t + 1 < length; t++) labels[row * length + t] = given[row * length + t + 1] ?? -100;
  }
  const supervised = labels.filter((label) => label >= 0).length;
  const weights = new Float32Array(2 * labels.length);
  labels.forEach((label, row) => {
    if (label >= 0) weights[2 * row] = 1 / supervised;
  });
  return { micro: { length, tokens, labels, weights }, supervised };
}

/** A recorded tensor of a parameter, turned where the engine keeps it the other way round. */
export async function ofParameter(
  { recorded, config }: Pick<Case, 'recorded' | 'config'>,
  prefix: string,
  parameter: string,
): Promise<Float32Array> {
  const alias = familyOf(config).names.aliases?.[parameter];
  const name = alias && !recorded.tensors.has(prefix + parameter) ? alias : parameter;
  const values = await recorded.readFloat32(prefix + name);
  const [rows = 1, cols = 1] = required(recorded.tensors.get(prefix + name), name).shape;
  if (!decoderTensors(config).some((spec) => spec.name === parameter && spec.conv1d)) return values;
  return values.map((_, i) => values[(i % rows) * cols + Math.floor(i / rows)] ?? Number.NaN);
}
