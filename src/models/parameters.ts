import type { DeviceBuffer } from '../gpu/deviceBuffer.ts';
import type { Gpu } from '../gpu/gpu.ts';
import { tensorIn } from '../graph/graph.ts';
import type { Tensor, Weight } from '../graph/tensor.ts';
import { AlloyError, required } from '../util/errors.ts';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Values, gradients and AdamW moments of many parameters, each kind in one flat buffer. */
export interface Arena {
  readonly w: DeviceBuffer;
  readonly g: DeviceBuffer;
  readonly m: DeviceBuffer;
  readonly v: DeviceBuffer;
  /** f32 elements, padding included (padding is and stays zero). */
  readonly length: number;
}

/** Storage offsets must be multiples of this on every adapter. */
const ALIGNMENT_BYTES = 256;

/**
 * The trainable tensors of a run. They lie side by side in a few arenas below the binding limit, so that the norm of
 * the gradient and AdamW are a few dispatches whatever the number of tensors.
 */
export class Parameters {
  readonly arenas: readonly Arena[];
  readonly names: readonly string[];
  #gpu: Gpu;
  #tensors = new Map<string, Tensor>();
  #places = new Map<string, { arena: Arena; offset: number; elements: number }>();

  /** @throws AlloyError `out-of-memory` when one tensor is larger than a binding may be. */
  constructor(gpu: Gpu, specs: readonly ParameterSpec[]) {
    this.#gpu = gpu;
    this.names = specs.map((spec) => spec.name);
    const limit = Math.floor(gpu.limits.bindingBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    const groups: { bytes: number; members: { spec: ParameterSpec; offset: number; elements: number }[] }[] =
      [];
    for (const spec of specs) {
      const elements = spec.shape.reduce((product, size) => product * size, 1);
      const bytes = Math.ceil((elements * 4) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
      if (bytes > limit) {
        throw new AlloyError(
          'out-of-memory',
          `The trainable tensor ${spec.name} needs ${bytes} bytes, more than this adapter binds at once (${limit}); train with LoRA instead.`,
        );
      }
      const last = groups.at(-1);
      const group = last && last.bytes + bytes <= limit ? last : undefined;
      if (group) {
        group.members.push({ spec, offset: group.bytes, elements });
        group.bytes += bytes;
      } else groups.push({ bytes, members: [{ spec, offset: 0, elements }] });
    }
    this.arenas = groups.map(({ bytes, members }, index) => {
      const make = (role: string) => gpu.createBuffer(bytes, `parameters ${index} ${role}`);
      const arena = { w: make('w'), g: make('g'), m: make('m'), v: make('v'), length: bytes / 4 };
      for (const { spec, offset, elements } of members) {
        const gradient = tensorIn(arena.g.slice(offset, elements * 4), `grad.${spec.name}`, spec.shape);
        this.#tensors.set(
          spec.name,
          tensorIn(arena.w.slice(offset, elements * 4), spec.name, spec.shape, gradient),
        );
        this.#places.set(spec.name, { arena, offset, elements });
      }
      return arena;
    });
  }

  get bytes(): number {
    return this.arenas.reduce((sum, arena) => sum + 16 * arena.length, 0);
  }

  tensor(name: string): Tensor {
    return required(this.#tensors.get(name), `the parameter ${name}`);
  }

  /** A trainable `[rows, cols]` parameter as a weight. */
  weight(name: string): Weight {
    const tensor = this.tensor(name);
    const [rows = 1, cols = 1] = tensor.shape;
    return {
      name,
      rows,
      cols,
      format: { kind: 'f32' },
      chunks: [{ rowStart: 0, rows, data: tensor, scales: undefined }],
    };
  }

  set(name: string, values: Float32Array<ArrayBuffer>): void {
    const { arena, offset } = required(this.#places.get(name), `the parameter ${name}`);
    this.#gpu.upload(arena.w, values, offset);
  }

  /** Values (`w`), gradients (`g`) or moments (`m`, `v`) of one parameter. */
  async read(name: string, role: 'w' | 'g' | 'm' | 'v' = 'w'): Promise<Float32Array<ArrayBuffer>> {
    const { arena, offset, elements } = required(this.#places.get(name), `the parameter ${name}`);
    return this.#gpu.downloadF32(arena[role], elements, offset);
  }

  /** Values of all parameters in one read per arena, by name. */
  async readAll(): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const values = new Map<string, Float32Array<ArrayBuffer>>();
    for (const arena of this.arenas) {
      const flat = await this.#gpu.downloadF32(arena.w);
      for (const [name, place] of this.#places) {
        if (place.arena !== arena) continue;
        values.set(name, flat.slice(place.offset / 4, place.offset / 4 + place.elements));
      }
    }
    return values;
  }

  /** Values and moments of all arenas, for a checkpoint: `[w, m, v]` of each in turn. */
  async snapshot(): Promise<Float32Array<ArrayBuffer>[]> {
    const parts: Float32Array<ArrayBuffer>[] = [];
    for (const { w, m, v } of this.arenas) {
      for (const buffer of [w, m, v]) parts.push(await this.#gpu.downloadF32(buffer));
    }
    return parts;
  }

  /** Puts a snapshot back. @throws AlloyError `bad-file` when it is of other parameters. */
  restore(parts: readonly Float32Array<ArrayBuffer>[]): void {
    const buffers = this.arenas.flatMap(({ w, m, v }) => [w, m, v]);
    if (parts.length !== buffers.length || parts.some((part, i) => part.byteLength !== buffers[i]?.bytes)) {
      throw new AlloyError(
        'bad-file',
        'The checkpoint belongs to other matrices; delete it and train again.',
      );
    }
    for (const [index, buffer] of buffers.entries()) this.#gpu.upload(buffer, required(parts[index], 'part'));
  }

  /** Clears the optimizer's moments, for a run from the start. */
  clearMoments(): void {
    for (const { m, v, length } of this.arenas) {
      const zeros = new Float32Array(length);
      for (const buffer of [m, v]) this.#gpu.upload(buffer, zeros);
    }
  }

  dispose(): void {
    for (const { w, g, m, v } of this.arenas)
      for (const buffer of [w, g, m, v]) this.#gpu.destroyBuffer(buffer);
  }
}
