/** For tests: files in memory, and GGUF files built value by value. */
import type { ByteSink, FileSource } from '../util/fileSource.ts';
import { type GgufTypeName, ggufTypes } from './ggufTypes.ts';
import { type TensorToWrite, writeSafetensors } from './safetensors.ts';

/** Bytes as a file; reading outside fails like a bug would, so that a reader that trusts a length is caught. */
export function memoryFile(bytes: Uint8Array, name = 'test.bin'): FileSource {
  return {
    name,
    bytes: bytes.length,
    async read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new RangeError(`read of ${length} bytes at ${offset} of ${bytes.length}`);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
}

/** Collects what is written. */
export class MemorySink implements ByteSink {
  readonly #parts: Uint8Array[] = [];

  async write(bytes: Uint8Array): Promise<void> {
    this.#parts.push(new Uint8Array(bytes));
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    const result = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      result.set(part, at);
      at += part.length;
    }
    return result;
  }
}

export function f32Bytes(values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** A safetensors file of F32 tensors. */
export async function safetensorsBytes(
  tensors: Readonly<Record<string, { shape: number[]; values: number[] }>>,
): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new MemorySink();
  const entries = Object.entries(tensors).map(
    ([name, { shape, values }]): TensorToWrite => ({
      name,
      dtype: 'F32',
      shape,
      read: () => f32Bytes(values),
    }),
  );
  await writeSafetensors(sink, entries);
  return sink.bytes;
}

/** A typed GGUF value: scalars by kind, arrays with the kind of their entries. */
export type TestValue =
  | { u32: number }
  | { i32: number }
  | { u64: number }
  | { f32: number }
  | { f64: number }
  | { u8: number }
  | { bool: boolean }
  | { string: string }
  | { array: TestValue[]; of: TestKind };
export type TestKind = 'u8' | 'u32' | 'i32' | 'f32' | 'bool' | 'string' | 'array' | 'u64' | 'f64';

const kinds: Readonly<Record<TestKind, number>> = {
  u8: 0,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  f64: 12,
};

class ByteWriter {
  readonly bytes: number[] = [];

  #number(size: number, set: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(size));
    set(view);
    this.bytes.push(...new Uint8Array(view.buffer));
  }

  u32(value: number): void {
    this.#number(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): void {
    this.#number(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.bytes.push(...bytes);
  }

  value(value: TestValue): void {
    if ('u8' in value) this.bytes.push(value.u8);
    else if ('u32' in value) this.u32(value.u32);
    else if ('i32' in value) this.#number(4, (view) => view.setInt32(0, value.i32, true));
    else if ('u64' in value) this.u64(value.u64);
    else if ('f32' in value) this.#number(4, (view) => view.setFloat32(0, value.f32, true));
    else if ('f64' in value) this.#number(8, (view) => view.setFloat64(0, value.f64, true));
    else if ('bool' in value) this.bytes.push(value.bool ? 1 : 0);
    else if ('string' in value) this.string(value.string);
    else {
      this.u32(kinds[value.of]);
      this.u64(value.array.length);
      for (const entry of value.array) this.value(entry);
    }
  }
}

export interface TestTensor {
  readonly type: GgufTypeName;
  /** Outermost first. */
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
}

/** A GGUF file; its alignment is `general.alignment` where that is among the metadata, else 32. */
export function ggufBytes(
  metadata: Readonly<Record<string, TestValue>>,
  tensors: Readonly<Record<string, TestTensor>>,
  version = 3,
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  const given = metadata['general.alignment'];
  const alignment = given !== undefined && 'u32' in given ? given.u32 : 32;
  const align = (bytes: number) => Math.ceil(bytes / alignment) * alignment;
  writer.bytes.push(...new TextEncoder().encode('GGUF'));
  writer.u32(version);
  writer.u64(Object.keys(tensors).length);
  writer.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    writer.string(key);
    const kind = Object.keys(value)[0] as TestKind;
    writer.u32(kinds[kind]);
    writer.value(value);
  }
  const typeIds = new Map([...ggufTypes].map(([id, type]) => [type.name, id]));
  let offset = 0;
  for (const [name, { type, shape, raw }] of Object.entries(tensors)) {
    writer.string(name);
    writer.u32(shape.length);
    for (const size of shape.toReversed()) writer.u64(size);
    writer.u32(typeIds.get(type) ?? -1);
    writer.u64(offset);
    offset += align(raw.length);
  }
  const start = align(writer.bytes.length);
  const file = new Uint8Array(start + offset);
  file.set(writer.bytes);
  let at = start;
  for (const { raw } of Object.values(tensors)) {
    file.set(raw, at);
    at += align(raw.length);
  }
  return file;
}

/** A tiny llama model (2 layers of 2 heads of 4) with F32 tensors whose element i of tensor t is t + i / 1000. */
export function tinyLlama(extra: Readonly<Record<string, TestValue>> = {}): {
  metadata: Record<string, TestValue>;
  tensors: Record<string, TestTensor>;
} {
  const [hidden, ffn, vocabulary, layers] = [8, 12, 10, 2];
  const shapes: Record<string, number[]> = {
    'token_embd.weight': [vocabulary, hidden],
    'output_norm.weight': [hidden],
  };
  for (let layer = 0; layer < layers; layer++) {
    Object.assign(shapes, {
      [`blk.${layer}.attn_norm.weight`]: [hidden],
      [`blk.${layer}.attn_q.weight`]: [hidden, hidden],
      [`blk.${layer}.attn_k.weight`]: [4, hidden],
      [`blk.${layer}.attn_v.weight`]: [4, hidden],
      [`blk.${layer}.attn_output.weight`]: [hidden, hidden],
      [`blk.${layer}.ffn_norm.weight`]: [hidden],
      [`blk.${layer}.ffn_gate.weight`]: [ffn, hidden],
      [`blk.${layer}.ffn_up.weight`]: [ffn, hidden],
      [`blk.${layer}.ffn_down.weight`]: [hidden, ffn],
    });
  }
  const tensors = Object.entries(shapes).map(([name, shape], t): [string, TestTensor] => {
    const count = shape.reduce((product, size) => product * size, 1);
    const raw = f32Bytes(Array.from({ length: count }, (_, i) => t + i / 1000));
    return [name, { type: 'F32', shape, raw }];
  });
  return {
    metadata: {
      'general.architecture': { string: 'llama' },
      'llama.block_count': { u32: layers },
      'llama.context_length': { u32: 64 },
      'llama.embedding_length': { u32: hidden },
      'llama.feed_forward_length': { u32: ffn },
      'llama.attention.head_count': { u32: 2 },
      'llama.attention.head_count_kv': { u32: 1 },
      'llama.attention.layer_norm_rms_epsilon': { f32: 1e-5 },
      'llama.rope.freq_base': { f32: 10_000 },
      ...extra,
    },
    tensors: Object.fromEntries(tensors),
  };
}
