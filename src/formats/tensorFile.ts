import { bfloatsToFloats, halvesToFloats } from '../util/halfFloat.ts';

/** Element types of plain tensors, as safetensors names them. */
export type DType =
  | 'F64'
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'I64'
  | 'I32'
  | 'I16'
  | 'I8'
  | 'U64'
  | 'U32'
  | 'U16'
  | 'U8'
  | 'BOOL'
  | 'F8_E4M3'
  | 'F8_E5M2'
  | 'F8_E8M0';

/** Bytes of one element. */
export const dtypeBytes: Readonly<Record<DType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
};

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypeBytes, name);
}

/** A tensor as it lies in a file. */
export interface Tensor {
  readonly dtype: DType;
  /** Outermost dimension first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Little-endian elements, row after row. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function aligned(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  return bytes.byteOffset % size === 0 ? bytes : bytes.slice();
}

/**
 * E4M3 ("fn": no infinity, NaN at 0x7f), E5M2 (the top half of a half float) or E8M0 (powers of two, NaN at 0xff) → f32,
 * indexed by byte.
 */
function float8Table(dtype: 'F8_E4M3' | 'F8_E5M2' | 'F8_E8M0'): Float32Array<ArrayBuffer> {
  if (dtype === 'F8_E8M0')
    return Float32Array.from({ length: 256 }, (_, byte) => (byte === 255 ? Number.NaN : 2 ** (byte - 127)));
  if (dtype === 'F8_E5M2') return halvesToFloats(Uint16Array.from({ length: 256 }, (_, byte) => byte << 8));
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const exponent = (byte >> 3) & 15;
    const fraction = byte & 7;
    const sign = byte & 0x80 ? -1 : 1;
    if (exponent === 15 && fraction === 7) return Number.NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10));
  });
}

/**
 * Elements as f32. F16, BF16, F8, F32 and integers below 2^24 are exact; F64 and larger integers are rounded to nearest.
 * An F32 tensor may share memory with `bytes`.
 */
export function toFloat32(dtype: DType, bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const size = dtypeBytes[dtype];
  const { buffer, byteOffset } = aligned(bytes, size);
  const count = bytes.byteLength / size;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, count);
    case 'F16':
      return halvesToFloats(new Uint16Array(buffer, byteOffset, count));
    case 'BF16':
      return bfloatsToFloats(new Uint16Array(buffer, byteOffset, count));
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, count));
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer, byteOffset, count), Number);
    case 'U64':
      return Float32Array.from(new BigUint64Array(buffer, byteOffset, count), Number);
    case 'I32':
      return Float32Array.from(new Int32Array(buffer, byteOffset, count));
    case 'U32':
      return Float32Array.from(new Uint32Array(buffer, byteOffset, count));
    case 'I16':
      return Float32Array.from(new Int16Array(buffer, byteOffset, count));
    case 'U16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, count));
    case 'I8':
      return Float32Array.from(new Int8Array(buffer, byteOffset, count));
    case 'U8':
    case 'BOOL':
      return Float32Array.from(bytes);
    case 'F8_E4M3':
    case 'F8_E5M2':
    case 'F8_E8M0': {
      const table = float8Table(dtype);
      return Float32Array.from(bytes, (byte) => table[byte] ?? 0);
    }
    default:
      return dtype satisfies never;
  }
}
