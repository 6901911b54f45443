import { AlloyError } from '../util/errors.ts';
import { floatToHalf, halfFloatTable } from '../util/halfFloat.ts';
import {
  type AffineFormat,
  dataBytes,
  formatName,
  type PackedMatrix,
  rowGroups,
  rowWords,
  scaleBytes,
  type WeightFormat,
} from './weightFormat.ts';

/**
 * Packs f32 values [rows, cols] into a weight format, rounding to nearest; the same input gives the same words
 * everywhere.
 *
 * `affine`: a group starts from the line through its smallest and largest value. At 4 bits the line is then refitted
 * by least squares to the codes it gave, a few times, and the best fit is kept (largest values may saturate). Codes
 * are always those of the rounded pair that is stored.
 * @throws AlloyError `bad-data` where a value is not finite or too large for half floats.
 */
export function packMatrix(
  values: Float32Array,
  rows: number,
  cols: number,
  format: WeightFormat,
): PackedMatrix {
  if (values.length !== rows * cols) {
    throw new AlloyError('internal', `a matrix [${rows}, ${cols}] cannot have ${values.length} values`);
  }
  if (format.kind === 'f32') return { format, rows, cols, data: Float32Array.from(values) };
  if (format.kind === 'f16') return packHalves(values, rows, cols);
  return packAffine(values, rows, cols, format);
}

function packHalves(values: Float32Array, rows: number, cols: number): PackedMatrix {
  const format = { kind: 'f16' } as const;
  const data = new Uint32Array(dataBytes(format, rows, cols) / 4);
  const halves = new Uint16Array(data.buffer);
  const stride = rowWords(format, cols) * 2;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      halves[row * stride + col] = finiteHalf(values[row * cols + col] ?? 0, format);
    }
  }
  return { format, rows, cols, data };
}

function finiteHalf(value: number, format: WeightFormat): number {
  const half = floatToHalf(value);
  if ((half & 0x7c00) === 0x7c00) {
    throw new AlloyError(
      'bad-data',
      `The value ${value} does not fit a half float, so the matrix cannot be packed as ${formatName(format)}; keep it in f32.`,
    );
  }
  return half;
}

function packAffine(values: Float32Array, rows: number, cols: number, format: AffineFormat): PackedMatrix {
  const data = new Uint32Array(dataBytes(format, rows, cols) / 4);
  const scales = new Uint32Array(scaleBytes(format, rows, cols) / 4);
  const groups = rowGroups(format, cols);
  const groupWords = (format.group * format.bits) / 32;
  const perWord = 32 / format.bits;
  const quantizer = new GroupQuantizer(format, scales);
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const from = row * cols + group * format.group;
      const count = Math.min(format.group, cols - group * format.group);
      const index = row * groups + group;
      const codes = quantizer.quantize(values, from, count, index);
      for (let i = 0; i < count; i++) {
        const word = index * groupWords + Math.floor(i / perWord);
        data[word] = (data[word] ?? 0) | ((codes[i] ?? 0) << ((i % perWord) * format.bits));
      }
    }
  }
  return { format, rows, cols, data, scales };
}

/** Refits of a 4-bit group; further ones change next to nothing. */
const REFITS = 4;

class GroupQuantizer {
  #format: AffineFormat;
  #levels: number;
  #pairs: Float32Array;
  #halves: Uint16Array;
  #table = halfFloatTable();
  #codes: Uint8Array;
  #bestCodes: Uint8Array;
  #scale = 0;
  #minimum = 0;

  constructor(format: AffineFormat, scales: Uint32Array<ArrayBuffer>) {
    this.#format = format;
    this.#levels = 2 ** format.bits - 1;
    this.#pairs = new Float32Array(scales.buffer);
    this.#halves = new Uint16Array(scales.buffer);
    this.#codes = new Uint8Array(format.group);
    this.#bestCodes = new Uint8Array(format.group);
  }

  /** Writes the pair number `index` and returns the codes of `values[from .. from + count)`. */
  quantize(values: Float32Array, from: number, count: number, index: number): Uint8Array {
    let low = values[from] ?? 0;
    let high = low;
    for (let i = from; i < from + count; i++) {
      const value = values[i] ?? 0;
      if (!Number.isFinite(value)) {
        throw new AlloyError(
          'bad-data',
          `The matrix holds ${value}, so it cannot be packed as ${formatName(this.#format)}; check the file it came from.`,
        );
      }
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    this.#store(index, (high - low) / this.#levels, low);
    let bestError = this.#encode(values, from, count);
    this.#bestCodes.set(this.#codes);
    let [bestScale, bestMinimum] = [this.#scale, this.#minimum];
    for (let refit = 0; refit < (this.#format.bits === 4 ? REFITS : 0) && bestError > 0; refit++) {
      const line = fitLine(this.#codes, values, from, count);
      if (!line) break;
      this.#store(index, line.scale, line.minimum);
      const error = this.#encode(values, from, count);
      if (error >= bestError) break;
      bestError = error;
      this.#bestCodes.set(this.#codes);
      [bestScale, bestMinimum] = [this.#scale, this.#minimum];
    }
    this.#store(index, bestScale, bestMinimum);
    return this.#bestCodes;
  }

  #store(index: number, scale: number, minimum: number): void {
    if (this.#format.scales === 'f32') {
      this.#pairs[2 * index] = scale;
      this.#pairs[2 * index + 1] = minimum;
      this.#scale = this.#pairs[2 * index] ?? 0;
      this.#minimum = this.#pairs[2 * index + 1] ?? 0;
      return;
    }
    const halfScale = finiteHalf(scale, this.#format);
    const halfMinimum = finiteHalf(minimum, this.#format);
    this.#halves[2 * index] = halfScale;
    this.#halves[2 * index + 1] = halfMinimum;
    this.#scale = this.#table[halfScale] ?? 0;
    this.#minimum = this.#table[halfMinimum] ?? 0;
  }

  /** Nearest codes under the stored pair; returns the sum of squared errors. */
  #encode(values: Float32Array, from: number, count: number): number {
    const inverse = this.#scale > 0 ? 1 / this.#scale : 0;
    let error = 0;
    for (let i = 0; i < count; i++) {
      const value = values[from + i] ?? 0;
      const code = Math.min(this.#levels, Math.max(0, Math.round((value - this.#minimum) * inverse)));
      this.#codes[i] = code;
      const miss = this.#scale * code + this.#minimum - value;
      error += miss * miss;
    }
    return error;
  }
}

/** Least squares of value = scale * code + minimum; undefined where all codes are alike or the line falls. */
function fitLine(
  codes: Uint8Array,
  values: Float32Array,
  from: number,
  count: number,
): { scale: number; minimum: number } | undefined {
  let [sumCode, sumValue, sumSquare, sumProduct] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const code = codes[i] ?? 0;
    const value = values[from + i] ?? 0;
    sumCode += code;
    sumValue += value;
    sumSquare += code * code;
    sumProduct += code * value;
  }
  const spread = count * sumSquare - sumCode * sumCode;
  if (spread === 0) return undefined;
  const scale = (count * sumProduct - sumCode * sumValue) / spread;
  return scale > 0 ? { scale, minimum: (sumValue - scale * sumCode) / count } : undefined;
}
