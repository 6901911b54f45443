import { AlloyError } from '../util/errors.ts';
import { halfFloatTable } from '../util/halfFloat.ts';

/**
 * How the elements of a weight matrix [rows, cols] lie in memory; rows are in torch order [out, in].
 *
 * - `f32`: one word an element.
 * - `f16`: two half floats to a word, the first in the low half; a row is padded to whole words.
 * - `affine`: w = scale * q + minimum, with q unsigned and packed low bits first along the row. A row is padded to
 *   whole groups (with q = 0). Each group of `group` elements has one pair (scale, minimum): `f16` is one word with
 *   the scale in its low half, `f32` is two words.
 *
 * GGUF blocks map onto `affine` without a second rounding: Q4_0 and Q4_1 (4 bits, 32, f16), Q5_0 and Q5_1 (8 bits,
 * 32, f16), Q8_0 (8 bits, 32, minimum -128 * scale, f16 unless that overflows), Q4_K (4 bits, 32, f32), Q6_K (8
 * bits, 16, f32).
 */
export type WeightFormat = { readonly kind: 'f32' } | { readonly kind: 'f16' } | AffineFormat;

export interface AffineFormat {
  readonly kind: 'affine';
  readonly bits: 4 | 8;
  readonly group: 16 | 32;
  readonly scales: 'f16' | 'f32';
}

/** A matrix in host memory as the kernels read it. `scales` belongs to `affine` alone. */
export interface PackedMatrix {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
  readonly scales?: Uint32Array<ArrayBuffer>;
}

/** A short unique name, e.g. `q4g32f16`; part of kernel names. */
export function formatName(format: WeightFormat): string {
  if (format.kind !== 'affine') return format.kind;
  return `q${format.bits}g${format.group}${format.scales}`;
}

/** Bits that one element takes in the data words. */
export function elementBits(format: WeightFormat): 4 | 8 | 16 | 32 {
  if (format.kind === 'affine') return format.bits;
  return format.kind === 'f16' ? 16 : 32;
}

/** Data words from one row to the next. */
export function rowWords(format: WeightFormat, cols: number): number {
  if (format.kind === 'affine') return rowGroups(format, cols) * ((format.group * format.bits) / 32);
  return format.kind === 'f16' ? Math.ceil(cols / 2) : cols;
}

/** (scale, minimum) pairs of a row; 0 for formats without. */
export function rowGroups(format: WeightFormat, cols: number): number {
  return format.kind === 'affine' ? Math.ceil(cols / format.group) : 0;
}

/** Bytes of the data of a matrix [rows, cols]. */
export function dataBytes(format: WeightFormat, rows: number, cols: number): number {
  return rows * rowWords(format, cols) * 4;
}

/** Bytes of the (scale, minimum) pairs of a matrix [rows, cols]; 0 for formats without. */
export function scaleBytes(format: WeightFormat, rows: number, cols: number): number {
  if (format.kind !== 'affine') return 0;
  return rows * rowGroups(format, cols) * (format.scales === 'f16' ? 4 : 8);
}

/** Words of a (scale, minimum) pair. */
export function pairWords(format: AffineFormat): 1 | 2 {
  return format.scales === 'f16' ? 1 : 2;
}

/** @throws AlloyError `internal` if the arrays do not have the sizes that the format asks for. */
export function checkPacked(matrix: PackedMatrix): void {
  const { format, rows, cols, data, scales } = matrix;
  const wanted = dataBytes(format, rows, cols);
  const wantedScales = scaleBytes(format, rows, cols);
  if (data.byteLength !== wanted || (scales?.byteLength ?? 0) !== wantedScales) {
    throw new AlloyError(
      'internal',
      `a packed ${formatName(format)} matrix [${rows}, ${cols}] needs ${wanted} + ${wantedScales} bytes but has ${data.byteLength} + ${scales?.byteLength ?? 0}`,
    );
  }
}

/** The values of a packed matrix as f32 [rows, cols]: what the kernels multiply with. */
export function unpack(matrix: PackedMatrix): Float32Array<ArrayBuffer> {
  checkPacked(matrix);
  const { format, rows, cols } = matrix;
  const values = new Float32Array(rows * cols);
  if (format.kind === 'f32') values.set(f32View(matrix.data));
  else if (format.kind === 'f16') unpackHalves(matrix, values);
  else unpackAffine(matrix, format, values);
  return values;
}

function f32View({ buffer, byteOffset, length }: PackedMatrix['data']): Float32Array {
  return new Float32Array(buffer, byteOffset, length);
}

function unpackHalves({ rows, cols, data, format }: PackedMatrix, values: Float32Array): void {
  const table = halfFloatTable();
  const halves = new Uint16Array(data.buffer, data.byteOffset, data.length * 2);
  const stride = rowWords(format, cols) * 2;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      values[row * cols + col] = table[halves[row * stride + col] ?? 0] ?? 0;
    }
  }
}

function unpackAffine(matrix: PackedMatrix, format: AffineFormat, values: Float32Array): void {
  const { rows, cols, data } = matrix;
  const { bits, group } = format;
  const pairs = affinePairs(matrix, format);
  const stride = rowWords(format, cols);
  const groups = rowGroups(format, cols);
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const word = data[row * stride + Math.floor(col / perWord)] ?? 0;
      const q = (word >>> ((col % perWord) * bits)) & mask;
      const pair = 2 * (row * groups + Math.floor(col / group));
      values[row * cols + col] = (pairs[pair] ?? 0) * q + (pairs[pair + 1] ?? 0);
    }
  }
}

/** All (scale, minimum) pairs, interleaved. */
function affinePairs({ scales }: PackedMatrix, format: AffineFormat): Float32Array {
  const words = scales ?? new Uint32Array();
  if (format.scales === 'f32') return new Float32Array(words.buffer, words.byteOffset, words.length);
  const table = halfFloatTable();
  const halves = new Uint16Array(words.buffer, words.byteOffset, words.length * 2);
  return Float32Array.from(halves, (half) => table[half] ?? 0);
}
