import type { Device } from '../device/device.ts';
import type { DeviceBuffer } from '../device/deviceBuffer.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Tensor, Weight, WeightChunk } from '../graph/tensor.ts';
import { momentBytes } from '../kernels/adamw8bit.ts';
import { AlloyError, required } from '../util/errors.ts';
import { chunkRows } from './rowChunks.ts';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** How AdamW keeps its moments: in f32, or in blocks of 8 bits (`adamw8bit.ts`). */
export type Optimizer = 'adamw' | 'adamw8bit';

export interface ParameterOptions {
  readonly optimizer?: Optimizer;
  /** What memory the values count as: a model's own weights, or adapters on it. */
  readonly kind?: 'weights' | 'adapters';
}

/** Values, gradients and AdamW moments of many parameters, each kind in one flat buffer. */
export interface Arena {
  readonly w: DeviceBuffer;
  readonly g: DeviceBuffer;
  readonly m: DeviceBuffer;
  readonly v: DeviceBuffer;
  /** The scales of both moments' blocks, where they are kept in 8 bits. */
  readonly scales: DeviceBuffer | undefined;
  /** f32 elements, padding included (padding is and stays zero). */
  readonly length: number;
}

/** Storage offsets must be multiples of this on every adapter. */
const ALIGNMENT_BYTES = 256;

/** A run of rows of one parameter. */
interface Place {
  readonly spec: ParameterSpec;
  readonly rowStart: number;
  readonly rows: number;
  readonly elements: number;
  /** Bytes into the arena's `w` and `g`. */
  readonly offset: number;
}

interface Placed extends Place {
  readonly arena: Arena;
  readonly tensor: Tensor;
}

type SnapshotPart = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/**
 * The trainable tensors of a run. They lie side by side in a few arenas below the binding limit, so that the norm of
 * the gradient and AdamW are a few dispatches whatever the number of tensors. A matrix that is larger than a binding may
 * be lies in several runs of rows.
 */
export class Parameters {
  readonly arenas: readonly Arena[];
  readonly names: readonly string[];
  readonly optimizer: Optimizer;
  #device: Device;
  #places = new Map<string, readonly Placed[]>();

  /** @throws AlloyError `out-of-memory` when one row is larger than a binding may be, or the arenas do not fit. */
  constructor(device: Device, specs: readonly ParameterSpec[], options: ParameterOptions = {}) {
    this.#device = device;
    this.names = specs.map((spec) => spec.name);
    this.optimizer = options.optimizer ?? 'adamw';
    const { bindingBytes, pieceBytes } = device.limits;
    const ownPieces = options.kind === 'weights' ? pieceBytes : bindingBytes;
    const groups = groupPlaces(specs, bindingBytes, ownPieces);
    this.arenas = device.allOrNothing(() =>
      groups.map(({ bytes, members }, index) => {
        const arena = this.#makeArena(index, bytes, options.kind ?? 'adapters');
        for (const place of members) this.#put(arena, place);
        return arena;
      }),
    );
  }

  get bytes(): number {
    return this.arenas.reduce((sum, arena) => sum + bytesOf(arena), 0);
  }

  /** A parameter that lies in one piece, as all vectors do. */
  tensor(name: string): Tensor {
    const [place, ...more] = this.#placesOf(name);
    if (!place || more.length > 0) throw new AlloyError('internal', `the parameter ${name} is split`);
    return place.tensor;
  }

  /** A trainable `[rows, cols]` parameter as a weight. */
  weight(name: string): Weight {
    const places = this.#placesOf(name);
    const [rows = 1, cols = 1] = required(places[0], name).spec.shape;
    const chunks = places.map(
      ({ rowStart, rows: count, tensor }): WeightChunk => ({
        rowStart,
        rows: count,
        data: tensor,
        scales: undefined,
      }),
    );
    return { name, rows, cols, format: { kind: 'f32' }, chunks };
  }

  /** @param rowStart first row of a matrix that is given, where not all of it is */
  set(name: string, values: Float32Array<ArrayBuffer>, rowStart = 0): void {
    for (const { arena, offset, elements, rows, rowStart: first } of this.#placesOf(name)) {
      const width = elements / rows;
      const from = Math.max(first, rowStart);
      const end = Math.min(first + rows, rowStart + values.length / width);
      if (from >= end) continue;
      const part = values.subarray((from - rowStart) * width, (end - rowStart) * width);
      this.#device.upload(arena.w, part, offset + 4 * (from - first) * width);
    }
  }

  /** Values (`w`) or gradients (`g`) of one parameter. */
  async read(name: string, role: 'w' | 'g' = 'w'): Promise<Float32Array<ArrayBuffer>> {
    const places = this.#placesOf(name);
    const values = new Float32Array(places.reduce((sum, { elements }) => sum + elements, 0));
    let at = 0;
    for (const { arena, offset, elements } of places) {
      values.set(await this.#device.downloadF32(arena[role], elements, offset), at);
      at += elements;
    }
    return values;
  }

  /** Values of all parameters in one read per arena, by name. */
  async readAll(): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const parts = new Map<string, Float32Array<ArrayBuffer>[]>();
    for (const arena of this.arenas) {
      const flat = await this.#device.downloadF32(arena.w);
      for (const [name, places] of this.#places) {
        for (const { arena: own, offset, elements } of places) {
          if (own !== arena) continue;
          parts.set(name, [...(parts.get(name) ?? []), flat.slice(offset / 4, offset / 4 + elements)]);
        }
      }
    }
    return new Map([...parts].map(([name, pieces]) => [name, joined(pieces)]));
  }

  /** Values and moments of all arenas, for a checkpoint, as the buffers have them: resuming gives equal bits. */
  async snapshot(): Promise<SnapshotPart[]> {
    const parts: SnapshotPart[] = [];
    for (const [index, buffer] of this.#kept().entries()) {
      parts.push(
        this.#isPacked(index)
          ? await this.#device.downloadU32(buffer)
          : await this.#device.downloadF32(buffer),
      );
    }
    return parts;
  }

  /** Puts a snapshot back. @throws AlloyError `bad-file` when it is of other parameters. */
  restore(parts: readonly SnapshotPart[]): void {
    const buffers = this.#kept();
    if (parts.length !== buffers.length || parts.some((part, i) => part.byteLength !== buffers[i]?.bytes)) {
      throw new AlloyError(
        'bad-file',
        'The checkpoint belongs to other matrices; delete it and train again.',
      );
    }
    for (const [index, buffer] of buffers.entries())
      this.#device.upload(buffer, required(parts[index], 'part'));
  }

  dispose(): void {
    for (const { w, g, m, v, scales } of this.arenas)
      for (const buffer of [w, g, m, v, scales]) if (buffer) this.#device.destroyBuffer(buffer);
  }

  #placesOf(name: string): readonly Placed[] {
    return required(this.#places.get(name), `the parameter ${name}`);
  }

  /** What a checkpoint holds of each arena: w, m, v and, with 8 bits, the scales. */
  #kept(): DeviceBuffer[] {
    return this.arenas.flatMap(({ w, m, v, scales }) => (scales ? [w, m, v, scales] : [w, m, v]));
  }

  #isPacked(index: number): boolean {
    return this.optimizer === 'adamw8bit' && [1, 2].includes(index % 4);
  }

  #makeArena(index: number, bytes: number, kind: 'weights' | 'adapters'): Arena {
    const device = this.#device;
    const length = bytes / 4;
    const label = (role: string) => `parameters ${index} ${role}`;
    const [w, g] = [
      device.createBuffer(bytes, label('w'), kind),
      device.createBuffer(bytes, label('g'), 'gradients'),
    ];
    const sizes = this.optimizer === 'adamw8bit' ? momentBytes(length) : { moment: bytes, scales: 0 };
    const moment = (role: string) => device.createBuffer(sizes.moment, label(role), 'optimizer');
    const [m, v] = [moment('m'), moment('v')];
    const scales =
      sizes.scales > 0 ? device.createBuffer(sizes.scales, label('moment scales'), 'optimizer') : undefined;
    return { w, g, m, v, scales, length };
  }

  #put(arena: Arena, place: Place): void {
    const { spec, offset, elements, rows } = place;
    const shape = spec.shape.length > 1 ? [rows, ...spec.shape.slice(1)] : spec.shape;
    const gradient = tensorIn(arena.g.slice(offset, elements * 4), `grad.${spec.name}`, shape);
    const tensor = tensorIn(arena.w.slice(offset, elements * 4), spec.name, shape, gradient);
    this.#places.set(spec.name, [...(this.#places.get(spec.name) ?? []), { ...place, arena, tensor }]);
  }
}

function bytesOf({ w, g, m, v, scales }: Arena): number {
  return w.bytes + g.bytes + m.bytes + v.bytes + (scales?.bytes ?? 0);
}

/** Cuts matrices that are larger than a binding into runs of rows and fills arenas with them one after the other. */
function groupPlaces(
  specs: readonly ParameterSpec[],
  bindingBytes: number,
  pieceBytes: number,
): { bytes: number; members: Place[] }[] {
  const limit = Math.floor(bindingBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  const groups: { bytes: number; members: Place[] }[] = [];
  for (const spec of specs) {
    const [first = 1, ...rest] = spec.shape;
    const rowElements = rest.reduce((product, size) => product * size, 1);
    const most =
      spec.shape.length > 1 ? chunkRows(first, 4 * rowElements, { bindingBytes: limit, pieceBytes }) : first;
    for (let rowStart = 0; rowStart < first; rowStart += most) {
      const rows = Math.min(most, first - rowStart);
      const elements = rows * rowElements;
      const bytes = Math.ceil((elements * 4) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
      if (bytes > limit) {
        throw new AlloyError(
          'out-of-memory',
          `The trainable tensor ${spec.name} needs ${bytes} bytes in one piece, more than this adapter binds at once (${limit}); train with LoRA instead.`,
        );
      }
      const last = groups.at(-1);
      const group = last && last.bytes + bytes <= limit ? last : { bytes: 0, members: [] };
      if (group !== last) groups.push(group);
      group.members.push({ spec, rowStart, rows, elements, offset: group.bytes });
      group.bytes += bytes;
    }
  }
  return groups;
}

function joined(pieces: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  const [only, ...more] = pieces;
  if (only && more.length === 0) return only;
  const whole = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
