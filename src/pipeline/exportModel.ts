/** Any opened model as a Hugging Face folder: weights in one dtype, config, and the tokenizer where there is one. */

import type { Device } from '../device/device.ts';
import { type TensorToWrite, writeSafetensors } from '../formats/safetensors.ts';
import { openTensorFolder } from '../formats/shardedSafetensors.ts';
import { type PackedMatrix, unpack } from '../kernels/weightFormat.ts';
import { canonicalTensors, transposedMatrix } from '../models/canonicalTensors.ts';
import { parseConfig } from '../models/config.ts';
import type { LoadedModel } from '../models/loadedModel.ts';
import { Scorer } from '../models/scorer.ts';
import { folderTensors, type TensorSource } from '../models/tensorSource.ts';
import { decoderTensors, loadDecoder } from '../models/weights.ts';
import type { Storage } from '../storage/storage.ts';
import { readAll, readJson, writeFile } from '../storage/storageHelpers.ts';
import { AlloyError, required } from '../util/errors.ts';
import { floatsToBfloats, floatsToHalves } from '../util/halfFloat.ts';
import { loadAny } from './mergedModel.ts';
import type { OpenModel } from './openModel.ts';

export type ExportDType = 'f32' | 'f16' | 'bf16';

const WEIGHTS = 'model.safetensors';
const CONFIG = 'config.json';
const TEMPLATE = 'chat_template.jinja';

/** Names of the formats, and how far rounding the weights may move a probability. */
const DTYPES = {
  f32: { tensor: 'F32', torch: 'float32', tolerance: 1e-3 },
  f16: { tensor: 'F16', torch: 'float16', tolerance: 1e-2 },
  bf16: { tensor: 'BF16', torch: 'bfloat16', tolerance: 8e-2 },
} as const;

export interface ExportedModel {
  /** Names of the written files. */
  readonly files: readonly string[];
  /** What a complete folder would have and this one lacks. */
  readonly missing: readonly string[];
}

/**
 * Writes a model tensor by tensor, each element rounded once (nearest, ties to even).
 * @throws AlloyError `bad-argument` for numbers that the dtype cannot hold, `unsupported` for what a config.json cannot say
 */
export async function exportModel(
  model: OpenModel,
  dtype: ExportDType,
  storage: Storage,
  hooks: { onProgress?(done: number, total: number): void; checkpoint?(): Promise<void> } = {},
): Promise<ExportedModel> {
  const config = exportedConfig(model, dtype);
  const specs = decoderTensors(model.config);
  const source = canonicalTensors(model.config, model.tensors);
  let done = 0;
  const tensors = specs.map(
    ({ name, shape, kind, conv1d }): TensorToWrite => ({
      name,
      dtype: DTYPES[dtype].tensor,
      shape: conv1d ? shape.toReversed() : shape,
      async read() {
        await hooks.checkpoint?.();
        const values =
          kind === 'matrix'
            ? unpack(turned(await source.matrix(name), conv1d))
            : await valuesOf(model, source, name);
        hooks.onProgress?.(++done, specs.length);
        return rounded(values, dtype, name);
      },
    }),
  );
  // A config beside weights that are not there yet would look like a whole model.
  await storage.remove(CONFIG);
  const writer = await storage.create(WEIGHTS);
  try {
    await writeSafetensors(writer, tensors);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  const files = [WEIGHTS];
  for (const companion of model.companions) {
    const name = companion.name.split(/[\\/]/u).at(-1) ?? companion.name;
    await writeFile(storage, name, await readAll(companion));
    files.push(name);
  }
  const { chatTemplate } = model.text.tokenizer;
  if (model.companions.length === 0 && chatTemplate !== null) {
    await writeFile(storage, TEMPLATE, chatTemplate);
    files.push(TEMPLATE);
  }
  await writeFile(storage, CONFIG, configText(config));
  const missing = files.includes('tokenizer.json') ? [] : ['tokenizer.json'];
  return { files: [CONFIG, ...files], missing };
}

/** As the family's own files have it. */
function turned(matrix: PackedMatrix, conv1d: boolean): PackedMatrix {
  return conv1d ? transposedMatrix(matrix) : matrix;
}

/** Gemma's norms are written as transformers reads them: without the 1 that GGUF files add. */
async function valuesOf(
  { document }: OpenModel,
  source: TensorSource,
  name: string,
): Promise<Float32Array<ArrayBuffer>> {
  const values = await source.vector(name);
  const addsOne = document.norm_includes_one === true && name.endsWith('norm.weight');
  return addsOne ? values.map((value) => value - 1) : values;
}

function exportedConfig({ name, document }: OpenModel, dtype: ExportDType): Record<string, unknown> {
  const { norm_includes_one: _, quantization_config: __, ...config } = document;
  const scaling = config.rope_scaling;
  if (typeof scaling === 'object' && scaling !== null && 'factors' in scaling) {
    throw new AlloyError(
      'unsupported',
      `${name}: its rotation frequencies follow no rule that a config.json can name; export the adapters instead (--what adapter).`,
    );
  }
  const { torch } = DTYPES[dtype];
  const rope = renamedScaling(scaling);
  return {
    ...config,
    ...(rope && { rope_scaling: rope }),
    torch_dtype: torch,
    ...('dtype' in config && { dtype: torch }),
  };
}

/** LongRoPE as Phi-3's first configs call it, under the name that transformers still reads. */
function renamedScaling(scaling: unknown): object | undefined {
  if (typeof scaling !== 'object' || scaling === null || !('short_factor' in scaling)) return undefined;
  const kind = 'longrope';
  return {
    ...scaling,
    ...('type' in scaling && { type: kind }),
    ...('rope_type' in scaling && { rope_type: kind }),
  };
}

const FLOAT_FIELDS = /^( *"(?:\w+_softcapping|initializer_range|\w*norm_eps(?:ilon)?)": -?\d+)(,?)$/gmu;

/** Whole numbers get a decimal point where transformers wants floats: it refuses a soft cap of 30. */
function configText(config: Record<string, unknown>): string {
  return `${JSON.stringify(config, null, 2).replace(FLOAT_FIELDS, '$1.0$2')}\n`;
}

function rounded(
  values: Float32Array<ArrayBuffer>,
  dtype: ExportDType,
  name: string,
): Uint8Array<ArrayBuffer> {
  if (dtype === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const most = 65_504;
  const wrong = dtype === 'f16' ? values.find((value) => Math.abs(value) > most) : undefined;
  if (wrong !== undefined) {
    throw new AlloyError(
      'bad-argument',
      `${name} has the value ${wrong}, more than f16 can hold; export in bf16 or f32.`,
    );
  }
  const words = dtype === 'f16' ? floatsToHalves(values) : floatsToBfloats(values);
  return new Uint8Array(words.buffer);
}

export interface ExportCheck {
  /** Largest difference of a probability among the most likely next tokens. */
  readonly difference: number;
  readonly tolerance: number;
  readonly positions: number;
}

const PROBE = 'The quick brown fox jumps over the lazy dog, and 12 + 30 = 42.';
const PROBE_ENTRIES = 8;

/**
 * Opens what was written and compares its next-token probabilities with those of the model it was written from.
 * @throws AlloyError `internal` where they differ by more than rounding explains
 */
export async function verifyExport(
  device: Device,
  model: OpenModel,
  dtype: ExportDType,
  storage: Storage,
): Promise<ExportCheck> {
  const ids = model.text.raw(PROBE);
  const want = await probeRows(device, await loadAny(device, model), ids);
  const open = async (name: string) => ((await storage.exists(name)) ? storage.open(name) : null);
  const config = parseConfig(await readJson(await storage.open(CONFIG)), CONFIG);
  const source = folderTensors(await openTensorFolder(open, 'the exported folder'));
  const { weights, dispose } = await loadDecoder(device, config, source);
  const got = await probeRows(device, { config, weights, dispose }, ids);
  let difference = 0;
  want.forEach((row, index) => {
    for (const [id, probability] of [...row].slice(0, PROBE_ENTRIES)) {
      const other = got[index]?.get(id) ?? 0;
      difference = Math.max(difference, Math.abs(other - probability));
    }
  });
  const { tolerance } = DTYPES[dtype];
  if (!(difference <= tolerance)) {
    throw new AlloyError(
      'internal',
      `The written model differs from the one it was made from: a probability is off by ${difference.toPrecision(2)}, allowed ${tolerance}; please report this.`,
    );
  }
  return { difference, tolerance, positions: ids.length };
}

/** Probabilities of the most likely next tokens after every token. */
async function probeRows(
  device: Device,
  { config, weights, dispose }: LoadedModel,
  ids: readonly number[],
): Promise<ReadonlyMap<number, number>[]> {
  // More entries than are compared, so that two near-equal tokens may change places.
  const topK = Math.min(4 * PROBE_ENTRIES, config.vocabSize);
  const scorer = new Scorer(device, config, weights, { topK });
  try {
    const rows = required((await scorer.score([ids]))[0], 'rows');
    return ids.map(
      (_, row) =>
        new Map(
          Array.from({ length: topK }, (_entry, entry) => [
            rows.topIds[row * topK + entry] ?? 0,
            Math.exp(rows.topLogProbs[row * topK + entry] ?? Number.NaN),
          ]),
        ),
    );
  } finally {
    scorer.dispose();
    dispose();
  }
}
