import { floatToHalf, halfToFloat } from '../util/halfFloat.ts';
import { isPlainType, newBlock, quantizedType } from './ggufDequantize.ts';
import type { GgufTypeName } from './ggufTypes.ts';

/**
 * A matrix [rows, cols] in affine blocks: `w = scale · q + minimum`.
 * `data` holds the codes low-first along each row, 8 of 4 bits or 4 of 8 bits in a word. `scales` holds one entry a group,
 * row after row: one word (`f16`: scale in the low half, minimum in the high half) or two (`f32`: scale, minimum).
 */
export interface PackedMatrix {
  readonly format: {
    readonly kind: 'affine';
    readonly bits: 4 | 8;
    readonly group: 16 | 32;
    readonly scales: 'f16' | 'f32';
  };
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

const smallestNormalHalf = 2 ** -14;

/** Types whose blocks have scales and minima that are half floats themselves; those of all others are products. */
const halfScales = new Set<GgufTypeName>(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0']);

/** The format that `repack` gives, unless halves overflow; null for types of plain numbers. */
export function packedFormat(name: GgufTypeName): PackedMatrix['format'] | null {
  if (isPlainType(name)) return null;
  const { group, bits } = quantizedType(name, name).decoder;
  return { kind: 'affine', bits, group, scales: halfScales.has(name) ? 'f16' : 'f32' };
}

/** The half with exactly this value, or −1. Subnormal ones count as none: a GPU may read them as 0. */
function exactHalf(value: number): number {
  const half = floatToHalf(value);
  const exact = halfToFloat(half) === value && (value === 0 || Math.abs(value) >= smallestNormalHalf);
  return exact ? half : -1;
}

/** (scale, minimum) pairs as half floats, or null where one of them is no half float. */
function packHalves(pairs: Float32Array): Uint32Array<ArrayBuffer> | null {
  const words = new Uint32Array(pairs.length / 2);
  for (let g = 0; g < words.length; g++) {
    const scale = exactHalf(pairs[2 * g] ?? 0);
    const minimum = exactHalf(pairs[2 * g + 1] ?? 0);
    if (scale < 0 || minimum < 0) return null;
    words[g] = scale | (minimum << 16);
  }
  return words;
}

/**
 * Puts quantized GGUF blocks into the affine blocks of the GPU without a second rounding: `scale · q + minimum` in f32
 * gives the values of the dequantizer, with or without a fused multiply-add, because every product is exact in f32.
 * One difference: a value that the dequantizer gives as −0 is +0.
 * Rows are whole numbers of blocks in GGUF, so no row is padded. 4-bit results: Q4_0, Q4_1, Q4_K, Q2_K, Q3_K, TQ1_0, TQ2_0,
 * IQ1_S, IQ1_M, IQ3_S; the others take 8 bits (codebooks of uneven steps too: exact, in half of what f16 would take). Scales stay f16 where all of them and the minima are exact as normal f16 numbers.
 * @param label names file and tensor in errors
 * @throws AlloyError `unsupported` for types without a decoder
 */
export function repack(
  name: GgufTypeName,
  raw: Uint8Array,
  rows: number,
  cols: number,
  label: string,
): PackedMatrix {
  const { type, decoder } = quantizedType(name, label);
  const { group, bits, zero } = decoder;
  const { blockBytes, blockElements } = type;
  const count = (rows * cols) / blockElements;
  const data = new Uint32Array((rows * cols * bits) / 32);
  const out = new Uint8Array(data.buffer);
  const block = bits === 8 ? newBlock(type, decoder, out) : newBlock(type, decoder);
  const { codes, scales, minima } = block;
  const groups = scales.length;
  const pairs = new Float32Array(count * groups * 2);
  for (let b = 0; b < count; b++) {
    if (bits === 8) block.start = b * blockElements;
    decoder.decode(raw, b * blockBytes, block);
    for (let g = 0; g < groups; g++) {
      const scale = scales[g] ?? 0;
      const at = (b * groups + g) * 2;
      pairs[at] = scale;
      pairs[at + 1] = zero === null ? (minima[g] ?? 0) : -zero * scale;
    }
    if (bits === 8) continue;
    const at = (b * blockElements) / 2;
    for (let i = 0; i < blockElements / 2; i++)
      out[at + i] = (codes[2 * i] ?? 0) | ((codes[2 * i + 1] ?? 0) << 4);
  }
  const packed = packHalves(pairs);
  return {
    format: { kind: 'affine', bits, group, scales: packed === null ? 'f32' : 'f16' },
    rows,
    cols,
    data,
    scales: packed ?? new Uint32Array(pairs.buffer),
  };
}

/**
 * Brings the rows of a llama GGUF file's q or k matrix (or bias) into Hugging Face's order: the file keeps the two
 * partners of a rotation in neighbouring rows, Hugging Face half a head apart. Works on whole rows of any type.
 * @param rowBytes bytes of one row as it lies in the file
 */
export function unpairRows(
  raw: Uint8Array,
  rowBytes: number,
  heads: number,
  headDim: number,
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(raw.length);
  const halfDim = headDim / 2;
  for (let head = 0; head < heads; head++) {
    for (let j = 0; j < headDim; j++) {
      const from = head * headDim + 2 * (j % halfDim) + (j < halfDim ? 0 : 1);
      const to = head * headDim + j;
      result.set(raw.subarray(from * rowBytes, (from + 1) * rowBytes), to * rowBytes);
    }
  }
  return result;
}
