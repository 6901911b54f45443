import { AlloyError } from '../util/errors.ts';
import { type BlockDecoder, blockDecoders, type DecodedBlock } from './ggufBlocks.ts';
import { type GgufType, type GgufTypeName, ggufTypes } from './ggufTypes.ts';
import { type DType, toFloat32 } from './tensorFile.ts';

const plainTypes: ReadonlyMap<GgufTypeName, DType> = new Map<GgufTypeName, DType>([
  ['F32', 'F32'],
  ['F16', 'F16'],
  ['BF16', 'BF16'],
  ['F64', 'F64'],
  ['I8', 'I8'],
  ['I16', 'I16'],
  ['I32', 'I32'],
  ['I64', 'I64'],
]);

const typesByName: ReadonlyMap<GgufTypeName, GgufType> = new Map(
  [...ggufTypes.values()].map((type) => [type.name, type]),
);

/** The type with that name and its decoder. `label` names file and tensor. @throws AlloyError `unsupported` */
export function quantizedType(name: GgufTypeName, label: string): { type: GgufType; decoder: BlockDecoder } {
  const type = typesByName.get(name);
  const decoder = blockDecoders.get(name);
  if (type === undefined || decoder === undefined) {
    throw new AlloyError(
      'unsupported',
      `${label} is quantized as ${name}, which Alloy cannot read yet; use a file in another quantization, for example Q4_K_M or Q8_0.`,
    );
  }
  return { type, decoder };
}

/** Whether elements of this type are plain numbers (F32, F16, BF16 …) and not blocks. */
export function isPlainType(name: GgufTypeName): boolean {
  return plainTypes.has(name);
}

/** Room for one decoded block; its codes go to `codes` or to an array of their own. */
export function newBlock(
  type: GgufType,
  decoder: BlockDecoder,
  codes = new Uint8Array(type.blockElements),
): DecodedBlock {
  const groups = type.blockElements / decoder.group;
  return {
    codes,
    start: 0,
    scales: new Float32Array(groups),
    minima: new Float32Array(groups),
  };
}

/**
 * Blocks → f32, bit for bit what ggml's reference dequantizers give: the products are exact in f32 for every type here,
 * so the only rounding is the final sum of the types with minima.
 * @throws AlloyError `unsupported` for types without a decoder
 */
export function dequantize(
  name: GgufTypeName,
  raw: Uint8Array<ArrayBuffer>,
  label: string,
): Float32Array<ArrayBuffer> {
  const plain = plainTypes.get(name);
  if (plain !== undefined) return toFloat32(plain, raw);
  const { type, decoder } = quantizedType(name, label);
  const { group, zero } = decoder;
  const block = newBlock(type, decoder);
  const count = raw.length / type.blockBytes;
  const values = new Float32Array(count * type.blockElements);
  for (let b = 0; b < count; b++) {
    decoder.decode(raw, b * type.blockBytes, block);
    const start = b * type.blockElements;
    for (let i = 0; i < type.blockElements; i++) {
      const g = (i / group) | 0;
      const scale = block.scales[g] ?? 0;
      const code = block.codes[i] ?? 0;
      values[start + i] = zero === null ? scale * code + (block.minima[g] ?? 0) : scale * (code - zero);
    }
  }
  return values;
}
