import type { Device } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import type { MemoryKind } from '../device/memoryLedger.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Tensor, Weight, WeightChunk } from '../graph/tensor.ts';
import {
  formatName,
  type PackedMatrix,
  rowWords,
  scaleBytes,
  type WeightFormat,
} from '../kernels/weightFormat.ts';
import { AlloyError } from '../util/errors.ts';
import { chunkRows } from './rowChunks.ts';

/** A matrix that has its place on the device and is filled run of rows by run of rows. */
export interface PlacedMatrix {
  readonly weight: Weight;
  /** Puts rows in, in the format of the place. */
  write(rowStart: number, rows: PackedMatrix): void;
}

/** Tensors that are not trained: places for them, and what frees them. */
export class FrozenTensors {
  readonly #device: Device;
  readonly #kind: MemoryKind;
  readonly #buffers = new Map<string, DeviceBuffer[]>();

  constructor(device: Device, kind: MemoryKind = 'weights') {
    this.#device = device;
    this.#kind = kind;
  }

  /** What they take. */
  get bytes(): number {
    let bytes = 0;
    for (const buffers of this.#buffers.values()) for (const buffer of buffers) bytes += buffer.bytes;
    return bytes;
  }

  vector(
    name: string,
    values: Float32Array<ArrayBuffer>,
    shape: readonly number[] = [values.length],
  ): Tensor {
    const tensor = this.placeVector(name, shape);
    this.fill(name, values);
    return tensor;
  }

  /** Puts the values of a vector in its place. */
  fill(name: string, values: Float32Array<ArrayBuffer>): void {
    const [buffer] = this.#buffers.get(name) ?? [];
    if (buffer) this.#device.upload(buffer, values);
  }

  placeVector(name: string, shape: readonly number[]): Tensor {
    const bytes = 4 * shape.reduce((product, size) => product * size, 1);
    return this.#tensor(name, shape, bytes);
  }

  matrix(name: string, matrix: PackedMatrix): Weight {
    const { weight, write } = this.placeMatrix(name, matrix.rows, matrix.cols, matrix.format);
    write(0, matrix);
    return weight;
  }

  /** A place in chunks of rows, each small enough for one binding. */
  placeMatrix(name: string, rows: number, cols: number, format: WeightFormat): PlacedMatrix {
    const words = rowWords(format, cols);
    const scaleWords = scaleBytes(format, 1, cols) / 4;
    const most = chunkRows(rows, 4 * Math.max(words, scaleWords), this.#limits());
    const chunks: WeightChunk[] = [];
    for (let rowStart = 0; rowStart < rows; rowStart += most) {
      const count = Math.min(most, rows - rowStart);
      const scales = count * scaleWords;
      chunks.push({
        rowStart,
        rows: count,
        data: this.#tensor(name, [count, cols], 4 * count * words),
        scales: scales > 0 ? this.#tensor(`${name}.scales`, [scales], 4 * scales, name) : undefined,
      });
    }
    const weight = { name, rows, cols, format, chunks };
    return {
      weight,
      write: (rowStart, part) => {
        if (formatName(part.format) !== formatName(format)) {
          throw new AlloyError(
            'internal',
            `${name}: rows in ${formatName(part.format)}, not ${formatName(format)}`,
          );
        }
        for (const chunk of chunks) {
          const from = Math.max(chunk.rowStart, rowStart);
          const end = Math.min(chunk.rowStart + chunk.rows, rowStart + part.rows);
          if (from >= end) continue;
          this.#write(chunk.data, part.data, words, from - rowStart, from - chunk.rowStart, end - from);
          if (chunk.scales && part.scales) {
            this.#write(
              chunk.scales,
              part.scales,
              scaleWords,
              from - rowStart,
              from - chunk.rowStart,
              end - from,
            );
          }
        }
      },
    };
  }

  /** Frees what one tensor has. */
  release(name: string): void {
    for (const buffer of this.#buffers.get(name) ?? []) this.#device.destroyBuffer(buffer);
    this.#buffers.delete(name);
  }

  dispose(): void {
    for (const name of [...this.#buffers.keys()]) this.release(name);
  }

  /** Factors of adapters are bound as a whole. */
  #limits(): Parameters<typeof chunkRows>[2] {
    const { bindingBytes, pieceBytes } = this.#device.limits;
    return { bindingBytes, pieceBytes: this.#kind === 'weights' ? pieceBytes : bindingBytes };
  }

  #write(
    { home }: Tensor,
    data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
    words: number,
    from: number,
    to: number,
    rows: number,
  ): void {
    if (home) this.#device.upload(home, data.subarray(from * words, (from + rows) * words), 4 * to * words);
  }

  #tensor(name: string, shape: readonly number[], bytes: number, owner = name): Tensor {
    const buffer = this.#device.createBuffer(bytes, name, this.#kind);
    this.#buffers.set(owner, [...(this.#buffers.get(owner) ?? []), buffer]);
    return tensorIn(buffer, name, shape);
  }
}
