import { AlloyError } from '../util/errors.ts';
import type { FileSource } from '../util/fileSource.ts';
import type { RowRange } from '../util/rowRange.ts';
import { type SafetensorsEntry, SafetensorsFile } from './safetensors.ts';
import { type Tensor, toFloat32 } from './tensorFile.ts';

const wholeFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';

/** Opens a file of a model's folder by name, or gives null where there is none. */
export type OpenFile = (name: string) => Promise<FileSource | null>;

/** Named tensors of a model, in one safetensors file or in several. */
export interface TensorFolder {
  /** The file that a person would look at when something is wrong. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  /** @throws AlloyError `bad-file` when there is no such tensor */
  readTensor(name: string, rows?: RowRange): Promise<Tensor>;
  /** @param rows of a matrix only these, where told */
  readFloat32(name: string, rows?: RowRange): Promise<Float32Array<ArrayBuffer>>;
}

async function readWeightMap(source: FileSource): Promise<Map<string, string>> {
  const fail = (what: string, cause?: unknown) =>
    new AlloyError('bad-file', `${source.name}: ${what}; get the file again.`, { cause });
  let index: unknown;
  try {
    index = JSON.parse(new TextDecoder().decode(await source.read(0, source.bytes)));
  } catch (error) {
    if (error instanceof AlloyError) throw error;
    throw fail('it is not valid JSON', error);
  }
  const weightMap =
    typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : null;
  if (typeof weightMap !== 'object' || weightMap === null || Array.isArray(weightMap))
    throw fail('it has no weight_map');
  const map = new Map<string, string>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    if (typeof file !== 'string' || !/^[^/\\]+\.safetensors$/.test(file))
      throw fail(`weight_map names no safetensors file beside it for the tensor ${JSON.stringify(tensor)}`);
    map.set(tensor, file);
  }
  return map;
}

async function openSharded(index: FileSource, open: OpenFile): Promise<TensorFolder> {
  const weightMap = await readWeightMap(index);
  const shards = new Map<string, SafetensorsFile>();
  for (const file of new Set(weightMap.values())) {
    const source = await open(file);
    if (source === null) {
      throw new AlloyError(
        'missing-file',
        `${file} is missing, which ${index.name} names; put all parts of the model in one folder.`,
      );
    }
    const shard = await SafetensorsFile.open(source);
    const twice = [...shard.tensors.keys()].find((name) => (weightMap.get(name) ?? file) !== file);
    if (twice !== undefined) {
      throw new AlloyError(
        'bad-file',
        `${source.name}: the tensor ${JSON.stringify(twice)} is here and in ${weightMap.get(twice)}, where ${index.name} has it; the parts are of different models, get them again.`,
      );
    }
    shards.set(file, shard);
  }
  const owner = (name: string): SafetensorsFile => {
    const shard = shards.get(weightMap.get(name) ?? '');
    if (shard !== undefined) return shard;
    throw new AlloyError(
      'bad-file',
      `${index.name}: the tensor ${JSON.stringify(name)} is missing; the files do not fit the model's config.`,
    );
  };
  const tensors = new Map([...weightMap.keys()].map((name) => [name, owner(name).entry(name)]));
  return {
    name: index.name,
    tensors,
    readTensor: async (name, rows) => await owner(name).readTensor(name, rows),
    readFloat32: async (name, rows) => {
      const { dtype, bytes } = await owner(name).readTensor(name, rows);
      return toFloat32(dtype, bytes);
    },
  };
}

/** Whether a folder has weights as safetensors. */
export async function hasTensorFolder(open: OpenFile): Promise<boolean> {
  return ((await open(wholeFile)) ?? (await open(indexFile))) !== null;
}

/**
 * Opens a model's weights: `model.safetensors`, or the parts that `model.safetensors.index.json` names.
 * @throws AlloyError `missing-file` when neither is there or a part is missing; `bad-file` for damaged ones
 */
export async function openTensorFolder(open: OpenFile, folder: string): Promise<TensorFolder> {
  const whole = await open(wholeFile);
  if (whole !== null) {
    const file = await SafetensorsFile.open(whole);
    return {
      name: whole.name,
      tensors: file.tensors,
      readTensor: (name, rows) => file.readTensor(name, rows),
      readFloat32: (name, rows) => file.readFloat32(name, rows),
    };
  }
  const index = await open(indexFile);
  if (index !== null) return await openSharded(index, open);
  const pickled = (await open('pytorch_model.bin')) ?? (await open('pytorch_model.bin.index.json'));
  if (pickled !== null) {
    throw new AlloyError(
      'unsupported',
      `${folder} has its weights only in ${pickled.name}, a format that can run programs and is not read; use a model with *.safetensors.`,
    );
  }
  throw new AlloyError(
    'missing-file',
    `${folder} has neither ${wholeFile} nor ${indexFile}; give a folder with a model's weights.`,
  );
}
