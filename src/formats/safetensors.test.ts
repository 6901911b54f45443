import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlloyError } from '../util/errors.ts';
import { SafetensorsFile, writeSafetensors } from './safetensors.ts';
import { openTensorFolder } from './shardedSafetensors.ts';
import { f32Bytes, MemorySink, memoryFile, safetensorsBytes } from './testing.ts';

function withHeader(header: unknown, data = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

const open = (bytes: Uint8Array) => SafetensorsFile.open(memoryFile(bytes, 'm.safetensors'));
const entry = (start: number, end: number, shape = [2], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

describe('reading', () => {
  test('values of every dtype', async () => {
    const sink = new MemorySink();
    const values = (array: { buffer: ArrayBuffer }) => new Uint8Array(array.buffer);
    await writeSafetensors(
      sink,
      [
        { name: 'u8', dtype: 'U8', shape: [3], read: () => Uint8Array.of(1, 2, 255) },
        { name: 'f16', dtype: 'F16', shape: [2], read: () => values(Uint16Array.of(0x3c00, 0xc100)) },
        { name: 'bf16', dtype: 'BF16', shape: [2], read: () => values(Uint16Array.of(0x3f80, 0xc000)) },
        { name: 'f64', dtype: 'F64', shape: [1, 1], read: () => values(Float64Array.of(0.5)) },
        { name: 'i32', dtype: 'I32', shape: [2], read: () => values(Int32Array.of(-7, 9)) },
        { name: 'i64', dtype: 'I64', shape: [], read: () => values(BigInt64Array.of(-3n)) },
        { name: 'f32', dtype: 'F32', shape: [0, 4], read: () => new Uint8Array(0) },
        { name: 'e4m3', dtype: 'F8_E4M3', shape: [3], read: () => Uint8Array.of(0x38, 0xfe, 0x01) },
        { name: 'e5m2', dtype: 'F8_E5M2', shape: [3], read: () => Uint8Array.of(0x3c, 0xc4, 0x01) },
        { name: 'e8m0', dtype: 'F8_E8M0', shape: [2], read: () => Uint8Array.of(127, 130) },
      ],
      { format: 'pt', note: 'ü' },
    );
    const file = await open(sink.bytes);
    expect(Object.fromEntries(file.metadata)).toEqual({ format: 'pt', note: 'ü' });
    const read = async (name: string) => [...(await file.readFloat32(name))];
    expect(await read('u8')).toEqual([1, 2, 255]);
    expect(await read('f16')).toEqual([1, -2.5]);
    expect(await read('bf16')).toEqual([1, -2]);
    expect(await read('f64')).toEqual([0.5]);
    expect(await read('i32')).toEqual([-7, 9]);
    expect(await read('i64')).toEqual([-3]);
    expect(await read('f32')).toEqual([]);
    expect(await read('e4m3')).toEqual([1, -448, 2 ** -9]);
    expect(await read('e5m2')).toEqual([1, -4, 2 ** -16]);
    expect(await read('e8m0')).toEqual([1, 8]);
    expect(file.entry('i64').shape).toEqual([]);
    for (const { offset, bytes } of file.tensors.values()) if (bytes >= 4) expect(offset % 4).toBe(0);
  });

  test('keys and brackets inside texts are no keys of the header', async () => {
    const shared = JSON.stringify({ ...entry(0, 8), note: { dtype: '{"a":' } });
    const file = await open(
      withHeader(`{"__metadata__": {"a": "\\"a\\": {"}, "a": ${shared}}`, new Uint8Array(8)),
    );
    expect([...file.tensors.keys()]).toEqual(['a']);
  });

  test('a missing tensor is named', async () => {
    const file = await open(await safetensorsBytes({ a: { shape: [1], values: [1] } }));
    await expect(file.readTensor('b.weight')).rejects.toThrow(/m\.safetensors.*"b\.weight" is missing/);
  });
});

describe('bad files', () => {
  const data8 = new Uint8Array(8);
  test.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(0), /0 bytes/],
    ['a header longer than the file', Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127, 0, 0), /claims/],
    ['no JSON', withHeader('{"a": '), /not JSON/],
    ['an array', withHeader('[]'), /not a JSON object/],
    ['no dtype', withHeader({ w: { shape: [2], data_offsets: [0, 8] } }, data8), /"w" has no dtype/],
    ['unknown dtype', withHeader({ w: entry(0, 8, [2], 'Q9') }, data8), /"w" has the dtype "Q9"/],
    ['a negative size', withHeader({ w: entry(0, 8, [-2]) }, data8), /"w" has no shape/],
    ['a shape that does not fit', withHeader({ w: entry(0, 8, [3]) }, data8), /needs 12 bytes/],
    ['a shape beyond all numbers', withHeader({ w: entry(0, 8, [2 ** 52, 2 ** 52, 0]) }, data8), /"w"/],
    ['cut off', withHeader({ w: entry(0, 8) }, new Uint8Array(4)), /cut off/],
    ['an end without tensor', withHeader({ w: entry(0, 8) }, new Uint8Array(9)), /end at byte/],
    ['overlap', withHeader({ a: entry(0, 8), b: entry(4, 12) }, new Uint8Array(12)), /"b" overlaps/],
    [
      'a hole',
      withHeader({ a: entry(0, 8), b: entry(12, 20) }, new Uint8Array(20)),
      /hole before tensor "b"/,
    ],
    [
      'a name twice',
      withHeader(`{"a": ${JSON.stringify(entry(0, 8))}, "\\u0061" : ${JSON.stringify(entry(0, 8))}}`, data8),
      /tensor "a" is there twice/,
    ],
    ['metadata that is not text', withHeader({ __metadata__: { a: 1 } }), /__metadata__/],
  ])('%s', async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toThrow(AlloyError);
    await expect(open(bytes)).rejects.toThrow(message);
  });

  test('damaged and cut files give an AlloyError or a file that can be read', async () => {
    const good = await safetensorsBytes({
      'model.a': { shape: [2, 2], values: [1, 2, 3, 4] },
      'model.b': { shape: [3], values: [5, 6, 7] },
    });
    const damage = fc.record({
      cut: fc.nat(good.length),
      edits: fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ cut, edits }) => {
        const bytes = good.slice(0, good.length - (edits.length > 0 ? 0 : cut));
        for (const [at, value] of edits) bytes[at] = value;
        try {
          const file = await open(bytes);
          for (const name of file.tensors.keys()) await file.readFloat32(name);
        } catch (error) {
          expect(error).toBeInstanceOf(AlloyError);
        }
      }),
      { numRuns: 1500, seed: 11 },
    );
  });
});

describe('a model in parts', () => {
  const part = (name: string, values: number[]) =>
    safetensorsBytes({ [name]: { shape: [values.length], values } });
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const folder = (files: Record<string, Uint8Array>) =>
    openTensorFolder(
      async (name) => (files[name] === undefined ? null : memoryFile(files[name], name)),
      'models/x',
    );
  const index = (map: Record<string, string>) => json({ metadata: {}, weight_map: map });

  test('reads each tensor from its part', async () => {
    const model = await folder({
      'model.safetensors.index.json': index({ a: 'p1.safetensors', b: 'p2.safetensors' }),
      'p1.safetensors': await part('a', [1, 2]),
      'p2.safetensors': await part('b', [3]),
    });
    expect([...(await model.readFloat32('a'))]).toEqual([1, 2]);
    expect([...(await model.readFloat32('b'))]).toEqual([3]);
    expect(model.tensors.get('b')?.shape).toEqual([1]);
    await expect(model.readTensor('c')).rejects.toThrow(/index\.json.*"c" is missing/);
  });

  test('one file', async () => {
    const model = await folder({ 'model.safetensors': await part('a', [1]) });
    expect([...model.tensors.keys()]).toEqual(['a']);
  });

  test('complaints', async () => {
    await expect(folder({})).rejects.toThrow(/models\/x has neither/);
    const pickled = { 'pytorch_model.bin': Uint8Array.of(80, 75) };
    await expect(folder(pickled)).rejects.toThrow(/models\/x .* only in pytorch_model\.bin/);
    const missing = { 'model.safetensors.index.json': index({ a: 'p1.safetensors' }) };
    await expect(folder(missing)).rejects.toThrow(/p1\.safetensors is missing/);
    const outside = { 'model.safetensors.index.json': index({ a: '../p1.safetensors' }) };
    await expect(folder(outside)).rejects.toThrow(/weight_map/);
    const lying = {
      'model.safetensors.index.json': index({ z: 'p1.safetensors' }),
      'p1.safetensors': await part('a', [1]),
    };
    await expect(folder(lying)).rejects.toThrow(/p1\.safetensors.*"z" is missing/);
    const twice = {
      'model.safetensors.index.json': index({ a: 'p1.safetensors', b: 'p2.safetensors' }),
      'p1.safetensors': await part('a', [1]),
      'p2.safetensors': await safetensorsBytes({
        a: { shape: [1], values: [2] },
        b: { shape: [1], values: [3] },
      }),
    };
    await expect(folder(twice)).rejects.toThrow(
      /p2\.safetensors: the tensor "a" is here and in p1\.safetensors/,
    );
    await expect(folder({ 'model.safetensors.index.json': json([]) })).rejects.toThrow(/weight_map/);
  });
});

test('a tensor whose bytes do not fit is not written', async () => {
  const tensor = { name: 'a', dtype: 'F32' as const, shape: [2], read: () => f32Bytes([1]) };
  await expect(writeSafetensors(new MemorySink(), [tensor])).rejects.toThrow(/"a"/);
});
