import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { testDevice } from '../device/testing.ts';
import { readOnnxHeader } from '../formats/onnx.ts';
import { memoryFile } from '../formats/testing.ts';
import { nodeOnnxHost } from '../storage/nodeOnnxHost.ts';
import { AlloyError } from '../util/errors.ts';
import { provideOnnxHost } from '../util/onnxHost.ts';
import { findOnnx, loadOnnx, onnxConfig, usablePlaces } from './onnxModel.ts';
import { ONNX_PLACES } from './onnxRuntime.ts';

/** Fields of Protocol Buffers: numbers as varints, everything else with its length. */
function proto(
  ...fields: readonly (readonly [number: number, value: number | string | Uint8Array])[]
): Uint8Array {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
  return Uint8Array.from(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [...varint(number * 8), ...varint(value)];
      const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
      return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
    }),
  );
}

const INT64 = 7;
const FLOAT = 1;
const HALF = 10;

function value(name: string, type: number, ...dims: (number | string)[]): Uint8Array {
  const shape = proto(
    ...dims.map((size) => [1, typeof size === 'number' ? proto([1, size]) : proto([2, size])] as const),
  );
  return proto([1, name], [2, proto([1, proto([1, type], [2, shape])])]);
}

const node = (type: string, input: string, output: string, domain = '') =>
  proto([1, input], [2, output], [4, type], [7, domain]);
const tokens = value('input_ids', INT64, 'batch', 'length');
const logits = value('logits', FLOAT, 'batch', 'length', 12);

function onnx(parts: {
  inputs?: Uint8Array[];
  outputs?: Uint8Array[];
  nodes?: Uint8Array[];
  tensors?: Uint8Array[];
}): Uint8Array {
  const { inputs = [tokens], outputs = [logits], nodes = [], tensors = [] } = parts;
  const graph = proto(
    ...nodes.map((one) => [1, one] as const),
    [2, 'test'],
    ...tensors.map((one) => [5, one] as const),
    ...inputs.map((one) => [11, one] as const),
    ...outputs.map((one) => [12, one] as const),
  );
  const opsets = [
    proto([1, ''], [2, 18]),
    proto([1, 'com.microsoft'], [2, 1]),
    proto([1, 'com.example'], [2, 1]),
  ];
  return proto([1, 9], [7, graph], ...opsets.map((one) => [8, one] as const));
}

const find = (files: Readonly<Record<string, Uint8Array>>, wanted?: string) =>
  findOnnx(async (name) => (files[name] ? memoryFile(files[name], `m/${name}`) : null), 'm', wanted);

describe('the header', () => {
  test('inputs, outputs, operators and weights beside the file', async () => {
    const place = proto([1, 'location'], [2, 'model.onnx_data']);
    const outside = proto([8, 'w'], [13, place], [13, proto([1, 'offset'], [2, '0'])], [14, 1]);
    const branch = proto([4, 'If'], [5, proto([6, proto([1, node('Relu', 'a', 'b')], [5, outside])])]);
    const bytes = onnx({
      inputs: [tokens, value('w', FLOAT, 4), value('past_key_values.0.key', HALF, 'batch', 2, 'past', 8)],
      nodes: [
        node('MatMul', 'input_ids', 'logits'),
        node('RotaryEmbedding', 'a', 'b', 'com.microsoft'),
        branch,
      ],
      tensors: [proto([1, 4], [2, FLOAT], [8, 'w'], [9, new Uint8Array(70_000)])],
    });
    const header = await readOnnxHeader(memoryFile(bytes, 'm.onnx'));
    expect(header.inputs).toEqual([
      { name: 'input_ids', type: 'int64', shape: ['batch', 'length'] },
      { name: 'past_key_values.0.key', type: 'float16', shape: ['batch', 2, 'past', 8] },
    ]);
    expect(header.outputs).toEqual([{ name: 'logits', type: 'float32', shape: ['batch', 'length', 12] }]);
    expect(header.external).toEqual(['model.onnx_data']);
    expect([...header.operators].sort()).toEqual(['If', 'MatMul', 'Relu', 'com.microsoft:RotaryEmbedding']);
  });

  test('damaged files end in one sentence', async () => {
    const good = onnx({ nodes: [node('MatMul', 'a', 'b')] });
    for (let cut = 0; cut < good.length - 30; cut += 3) {
      await expect(readOnnxHeader(memoryFile(good.subarray(0, cut), 'm.onnx'))).rejects.toThrow(AlloyError);
    }
    for (let at = 0; at < good.length; at++) {
      const bytes = good.slice();
      bytes[at] = 0xff;
      await readOnnxHeader(memoryFile(bytes, 'm.onnx')).catch((error) =>
        expect(error).toBeInstanceOf(AlloyError),
      );
    }
  });
});

describe('the file of a folder', () => {
  test('is the most precise one, or the one that is named', async () => {
    const files = { 'onnx/model_q4.onnx': onnx({}), 'onnx/model_fp16.onnx': onnx({}) };
    expect((await find(files))?.file).toBe('m/onnx/model_fp16.onnx');
    expect((await find(files, 'onnx/model_q4.onnx'))?.file).toBe('m/onnx/model_q4.onnx');
    expect((await find({ 'onnx/decoder_model_merged.onnx': onnx({}) }))?.file).toMatch(/merged/);
    expect(await find({})).toBeNull();
  });

  test.each<[string, Uint8Array, RegExp]>([
    [
      'an input of another kind',
      onnx({ inputs: [tokens, value('pixel_values', FLOAT, 1, 3)] }),
      /m\/onnx\/model\.onnx: its input "pixel_values" is none/,
    ],
    ['no tokens', onnx({ inputs: [value('attention_mask', INT64, 1, 2)] }), /no input "input_ids"/],
    [
      'tokens as floats',
      onnx({ inputs: [value('input_ids', FLOAT, 1, 2)] }),
      /"input_ids" is of type float32/,
    ],
    [
      'a cache of an open size',
      onnx({ inputs: [tokens, value('past_key_values.0.key', FLOAT, 'b', 'h', 'p', 8)] }),
      /"past_key_values\.0\.key" has the shape \[b, h, p, 8\]/,
    ],
    [
      'no logits',
      onnx({ outputs: [value('last_hidden_state', FLOAT, 1, 2, 3)] }),
      /no output "logits".*last_hidden/,
    ],
    ['flat logits', onnx({ outputs: [value('logits', FLOAT, 'b', 5)] }), /no output "logits"/],
  ])('%s', async (_, bytes, message) => {
    await expect(find({ 'onnx/model.onnx': bytes })).rejects.toThrow(message);
  });

  test('weights beside it must be there, and inside the folder', async () => {
    const outside = (location: string) =>
      onnx({ tensors: [proto([8, 'w'], [13, proto([1, 'location'], [2, location])])] });
    const lost = find({ 'onnx/model.onnx': outside('model.onnx_data') });
    await expect(lost).rejects.toThrow(
      /m\/onnx\/model\.onnx: its weights are in model\.onnx_data, which is missing/,
    );
    const found = await find({
      'onnx/model.onnx': outside('./model.onnx_data'),
      'onnx/model.onnx_data': Uint8Array.of(1),
    });
    expect(found?.files.map(({ name }) => name)).toEqual(['m/onnx/model.onnx', 'm/onnx/model.onnx_data']);
    for (const location of ['../secret', '/etc/passwd', 'a/../../b'])
      await expect(find({ 'onnx/model.onnx': outside(location) })).rejects.toThrow(/outside its folder/);
  });

  test('the vocabulary is the logits, else the config', async () => {
    const source = await find({ 'onnx/model.onnx': onnx({}) });
    expect(onnxConfig({ vocab_size: 99, n_positions: 64 }, source!)).toMatchObject({
      vocabSize: 12,
      maxPositions: 64,
    });
    const open = await find({
      'onnx/model.onnx': onnx({ outputs: [value('logits', FLOAT, 'b', 'l', 'v')] }),
    });
    expect(onnxConfig({ text_config: { vocab_size: 99 } }, open!)).toMatchObject({ vocabSize: 99 });
    expect(() => onnxConfig({}, open!)).toThrow(/vocab_size/);
  });
});

test('fused attention runs on the CPU where the adapter is software', async () => {
  const headerOf = (type: string, domain: string) =>
    readOnnxHeader(memoryFile(onnx({ nodes: [node(type, 'a', 'b', domain)] }), 'm.onnx'));
  const fused = await headerOf('GroupQueryAttention', 'com.microsoft');
  const software = { software: true, shared: true };
  const gpu = { software: false, shared: true };
  expect(usablePlaces(fused, software, ONNX_PLACES)).toMatchObject({ places: ['wasm'] });
  expect(usablePlaces(fused, software, ['shared']).places).toEqual(['shared']);
  expect(usablePlaces(fused, gpu, ONNX_PLACES)).toEqual({ places: ONNX_PLACES, passed: undefined });
  const plain = await headerOf('MatMul', '');
  expect(usablePlaces(plain, software, ONNX_PLACES).places).toEqual(ONNX_PLACES);
  const processor = { software: true, shared: false };
  expect(usablePlaces(plain, processor, ONNX_PLACES)).toEqual({ places: ['wasm'], passed: undefined });
});

describe('loading', () => {
  beforeAll(() => provideOnnxHost(nodeOnnxHost(async () => undefined)));

  test('an operator that nobody knows is named', async () => {
    for (const domain of ['', 'com.example']) {
      const bytes = onnx({ nodes: [node('Clairvoyance', 'input_ids', 'logits', domain)] });
      const source = await find({ 'onnx/model.onnx': bytes });
      const loading = loadOnnx(await testDevice(), source!, onnxConfig({}, source!), ['wasm']);
      await expect(loading).rejects.toMatchObject({
        code: 'unsupported',
        message: expect.stringMatching(
          /^m\/onnx\/model\.onnx: onnxruntime-web cannot run the operator \S*Clairvoyance of/,
        ),
      });
    }
  });

  test('a config with another vocabulary', async () => {
    const fixture = (name: string) =>
      new Uint8Array(readFileSync(new URL(`../../fixtures/onnx/onnx/${name}`, import.meta.url)));
    const device = await testDevice();
    const source = await find({ 'onnx/model.onnx': fixture('model.onnx') });
    const config = { ...onnxConfig({}, source!), vocabSize: 300 };
    await expect(loadOnnx(device, source!, config, ['wasm'])).rejects.toThrow(
      /320 entries, but config\.json says 300/,
    );
  });
});
