import type { Device } from '../device/device.ts';
import { type PackedMatrix, scaleBytes } from '../kernels/weightFormat.ts';
import { halfFloatTable } from '../util/halfFloat.ts';
import type { DecoderPlaces } from './decoderPlaces.ts';
import { checkFinite } from './finiteWeights.ts';
import type { ParameterSpec } from './parameters.ts';
import { type Precision, type TensorSource, toPrecision } from './tensorSource.ts';

/** Elements of a matrix that are in host memory at once. */
const PIECE_ELEMENTS = 4 * 1024 * 1024;
/** Uploads that may be on their way before the reader waits for them: the driver keeps a copy of each until then. */
const WAITING_BYTES = 64 * 1024 * 1024;

/** Fills places from a file, with a piece of a matrix in host memory at a time. */
export class PieceReader {
  readonly #device: Device;
  readonly #source: TensorSource;
  readonly #precision: Precision;
  #waitingBytes = 0;

  constructor(device: Device, source: TensorSource, precision: Precision) {
    this.#device = device;
    this.#source = source;
    this.#precision = precision;
  }

  async vector(places: DecoderPlaces, spec: ParameterSpec): Promise<void> {
    const values = await this.#source.vector(spec.name);
    checkFinite(this.#source.file, spec.name, values);
    places.vector(spec)(values);
    await this.#uploaded(values.byteLength);
  }

  async matrix(places: DecoderPlaces, spec: ParameterSpec): Promise<void> {
    const [rows = 1, cols = 1] = spec.shape;
    const most = Math.max(1, Math.floor(PIECE_ELEMENTS / cols));
    let widen = false;
    let write = undefined as ReturnType<DecoderPlaces['matrix']> | undefined;
    for (let start = 0; start < rows; ) {
      const count = Math.min(most, rows - start);
      const read = await this.#piece(spec.name, count < rows ? { start, count } : undefined);
      const whole = read.rows === rows;
      const piece = widen ? withWideScales(read) : read;
      write ??= places.matrix(spec, piece.format);
      if (!places.holds(spec.name, piece.format)) {
        // Scales of the rows so far were halves, but not all of these are: begin again with wide ones.
        widen = true;
        start = 0;
        write = places.matrix(spec, withWideScales(piece).format);
        continue;
      }
      write(whole ? 0 : start, piece);
      await this.#uploaded(piece.data.byteLength + (piece.scales?.byteLength ?? 0));
      start = whole ? rows : start + count;
    }
  }

  async #piece(name: string, range: { start: number; count: number } | undefined): Promise<PackedMatrix> {
    const matrix = await this.#source.matrix(name, range);
    checkFinite(this.#source.file, name, matrix);
    return toPrecision(matrix, this.#precision);
  }

  async #uploaded(bytes: number): Promise<void> {
    this.#waitingBytes += bytes;
    if (this.#waitingBytes < WAITING_BYTES) return;
    this.#waitingBytes = 0;
    await this.#device.idle();
  }
}

/** The same matrix with its scales in f32. */
export function withWideScales(matrix: PackedMatrix): PackedMatrix {
  const { format, scales, rows, cols } = matrix;
  if (format.kind !== 'affine' || format.scales === 'f32' || !scales) return matrix;
  const table = halfFloatTable();
  const wide = { ...format, scales: 'f32' } as const;
  const pairs = new Float32Array(scaleBytes(wide, rows, cols) / 4);
  const halves = new Uint16Array(scales.buffer, scales.byteOffset, scales.length * 2);
  halves.forEach((half, at) => {
    pairs[at] = table[half] ?? 0;
  });
  return { ...matrix, format: wide, scales: new Uint32Array(pairs.buffer) };
}
