/**
 * Folders whose matrices are 8-bit floats with scales beside them: `<name>_scale` or `<name>_scale_inv` (both are factors),
 * one for the tensor, one a row, or one a block. The weights that come out are the file's; that such models also round
 * their activations to 8 bits when they run is left out, as it is where they are converted to 16 bits.
 */
import { AlloyError } from '../util/errors.ts';
import type { SafetensorsEntry } from './safetensors.ts';
import type { TensorFolder } from './shardedSafetensors.ts';
import { toFloat32 } from './tensorFile.ts';

type Json = Readonly<Record<string, unknown>>;

/** What `quantization_config` says about the matrices that are packed. */
export interface Float8Packing {
  /** Rows and columns that share a scale, where scales belong to blocks. */
  readonly block: readonly [rows: number, cols: number] | null;
  /** `quant_method`, for errors. */
  readonly method: string;
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function blockOf(value: unknown): readonly [number, number] | null {
  const sizes: unknown = typeof value === 'string' ? value.split('x').map(Number) : value;
  if (!Array.isArray(sizes) || sizes.length !== 2) return null;
  const [rows, cols]: unknown[] = sizes;
  return Number.isInteger(rows) && Number.isInteger(cols) && Number(rows) > 0 && Number(cols) > 0
    ? [Number(rows), Number(cols)]
    : null;
}

/** The weights' scheme of compressed-tensors, the same in all groups; null where one is no 8-bit float. */
function compressedBlock(config: Json): { block: Float8Packing['block'] } | null {
  if (!isJson(config.config_groups)) return null;
  const weights = Object.values(config.config_groups).map((group) => isJson(group) && group.weights);
  const blocks = new Set<string>();
  for (const scheme of weights) {
    if (!isJson(scheme) || scheme.num_bits !== 8 || scheme.type !== 'float') return null;
    if (scheme.symmetric === false) return null;
    const { group_size: group } = scheme;
    const grouped = typeof group === 'number' && group > 0;
    blocks.add(JSON.stringify(blockOf(grouped ? [1, group] : scheme.block_structure)));
  }
  const [first = 'null'] = blocks;
  return blocks.size === 1 ? { block: JSON.parse(first) } : null;
}

/**
 * Reads `quantization_config`.
 * @returns null where nothing is packed
 * @throws AlloyError `unsupported` for packings other than 8-bit floats: such tensors mean nothing without their rule
 */
export function float8Packing(config: unknown, file: string): Float8Packing | null {
  if (!isJson(config)) return null;
  const method = 'quant_method' in config ? String(config.quant_method) : 'unnamed';
  if (method === 'fbgemm_fp8') return { method, block: null };
  if (method === 'fp8') return { method, block: blockOf(config.weight_block_size ?? [128, 128]) };
  if (method === 'modelopt' && config.quant_algo === 'FP8') return { method, block: null };
  const compressed = method === 'compressed-tensors' ? compressedBlock(config) : null;
  if (compressed) return { method, ...compressed };
  throw new AlloyError(
    'unsupported',
    `${file}: quantization_config says that the weights are packed (${method}), which Alloy does not read in a folder; use the model in F32, F16, BF16 or F8, or a GGUF file.`,
  );
}

const scaleSuffixes = ['_scale', '_scale_inv'] as const;
const isScale = (name: string) => /\.(weight|input|output|activation|k|v)_scale(_inv)?$/.test(name);
const isFloat8 = (dtype: string) => dtype === 'F8_E4M3' || dtype === 'F8_E5M2';

/** Rows and columns of a matrix that share a scale. @throws AlloyError `bad-file` */
function scaleBlock(
  name: string,
  shape: readonly number[],
  scale: readonly number[],
  packing: Float8Packing | null,
  file: string,
): readonly [rows: number, cols: number] {
  const [rows = 1, cols = 1] = shape;
  const [down = 1, across = 1] = scale;
  if (scale.length <= 2) {
    const block = packing?.block;
    if (block && down === Math.ceil(rows / block[0]) && across === Math.ceil(cols / block[1])) return block;
    if (down * across === 1) return [rows, cols];
    if (!block && down === rows && across === 1) return [1, cols];
  }
  const blocks = packing?.block ? ` in blocks of ${packing.block.join(' × ')}` : '';
  throw new AlloyError(
    'bad-file',
    `${file}: the scales of ${name} have the shape [${scale.join(', ')}], which does not fit [${shape.join(', ')}]${blocks}; take weights and config from the same model.`,
  );
}

function multiply(
  values: Float32Array<ArrayBuffer>,
  cols: number,
  scales: Float32Array,
  [blockRows, blockCols]: readonly [number, number],
): void {
  const across = Math.ceil(cols / blockCols);
  for (let row = 0; row * cols < values.length; row++) {
    const first = Math.floor(row / blockRows) * across;
    for (let col = 0; col < cols; col++) {
      const at = row * cols + col;
      values[at] = (values[at] ?? 0) * (scales[first + Math.floor(col / blockCols)] ?? Number.NaN);
    }
  }
}

/**
 * The folder with its 8-bit matrices multiplied by their scales (rounded to f32 once); scales are no longer listed.
 * @param packing what the config says, see {@link float8Packing}
 * @throws AlloyError `bad-file` where a matrix that the config calls packed has no scale, or scales of another shape
 */
export function scaledFolder(folder: TensorFolder, packing: Float8Packing | null): TensorFolder {
  const { tensors } = folder;
  const scales = new Map<string, { name: string; block: readonly [number, number] }>();
  const visible = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of tensors) {
    if (!isScale(name)) visible.set(name, entry);
    if (!isFloat8(entry.dtype)) continue;
    const found = scaleSuffixes.map((suffix) => name + suffix).find((scale) => tensors.has(scale));
    if (found !== undefined) {
      const shape = tensors.get(found)?.shape ?? [];
      scales.set(name, { name: found, block: scaleBlock(name, entry.shape, shape, packing, folder.name) });
    } else if (packing !== null && entry.shape.length === 2) {
      throw new AlloyError(
        'bad-file',
        `${folder.name}: ${name} is packed (${packing.method}) but ${name}_scale is missing; get the model's files again.`,
      );
    }
  }
  if (scales.size === 0) return visible.size === tensors.size ? folder : { ...folder, tensors: visible };
  return {
    ...folder,
    tensors: visible,
    async readFloat32(name, rows) {
      const scale = scales.get(name);
      if (scale === undefined) return await folder.readFloat32(name, rows);
      const { dtype, shape, bytes } = await folder.readTensor(name);
      const values = toFloat32(dtype, bytes);
      const cols = shape.at(-1) ?? 1;
      multiply(values, cols, await folder.readFloat32(scale.name), scale.block);
      return rows ? values.slice(rows.start * cols, (rows.start + rows.count) * cols) : values;
    },
  };
}
