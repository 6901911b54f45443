import type { MatmulCase } from './engine.ts';
import { BLOCK, matmulWeights, packedWeights } from './matmulCase.ts';

/*
 * Writes the ONNX models of the bench: one product each. ONNX files are Protocol Buffers; of that format only varints and
 * length-delimited fields are needed, and the numbers below are the field numbers of onnx.proto3.
 */

type Bytes = Uint8Array<ArrayBuffer>;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

function concat(parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const integer = (field: number, value: number): Bytes =>
  Uint8Array.from([...varint(field * 8), ...varint(value)]);

function block(field: number, content: Bytes | readonly Bytes[]): Bytes {
  const bytes = content instanceof Uint8Array ? content : concat(content);
  return concat([Uint8Array.from([...varint(field * 8 + 2), ...varint(bytes.length)]), bytes]);
}

const text = (field: number, value: string): Bytes => block(field, new TextEncoder().encode(value));

const FLOAT = 1;
const UINT8 = 2;

function tensor(
  name: string,
  type: number,
  dims: readonly number[],
  data: Float32Array<ArrayBuffer> | Bytes,
): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return concat([...dims.map((dim) => integer(1, dim)), integer(2, type), text(8, name), block(9, raw)]);
}

function floatValue(name: string, dims: readonly number[]): Bytes {
  const shape = block(
    2,
    dims.map((dim) => block(1, integer(1, dim))),
  );
  return concat([text(1, name), block(2, block(1, [integer(1, FLOAT), shape]))]);
}

function node(
  type: string,
  inputs: readonly string[],
  domain: string,
  attributes: Readonly<Record<string, number>>,
) {
  const INT = 2;
  return concat([
    ...inputs.map((input) => text(1, input)),
    text(2, 'y'),
    text(4, type),
    ...Object.entries(attributes).map(([name, value]) =>
      block(5, [text(1, name), integer(3, value), integer(20, INT)]),
    ),
    ...(domain ? [text(7, domain)] : []),
  ]);
}

function model(product: Bytes, weights: readonly Bytes[], { rows, outputs, inputs }: MatmulCase): Bytes {
  const graph = [
    block(1, product),
    text(2, 'product'),
    ...weights.map((one) => block(5, one)),
    block(11, floatValue('x', [rows, inputs])),
    block(12, floatValue('y', [rows, outputs])),
  ];
  const opset = (domain: string, version: number) => block(8, [text(1, domain), integer(2, version)]);
  return concat([integer(1, 10), block(7, graph), opset('', 21), opset('com.microsoft', 1)]);
}

function transposed(weights: Float32Array, { outputs, inputs }: MatmulCase): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: outputs * inputs },
    (_, index) => weights[(index % outputs) * inputs + Math.floor(index / outputs)] ?? 0,
  );
}

/** The product as exporters write a linear layer: MatMul with `[K, N]` weights, or MatMulNBits with blocks of 32. */
export function matmulModel(matmulCase: MatmulCase): Bytes {
  const { outputs, inputs, weights } = matmulCase;
  if (weights === 'f32') {
    const w = tensor('w', FLOAT, [inputs, outputs], transposed(matmulWeights(matmulCase), matmulCase));
    return model(node('MatMul', ['x', 'w'], '', {}), [w], matmulCase);
  }
  const { nibbles, scales } = packedWeights(matmulCase);
  const product = node('MatMulNBits', ['x', 'w', 's'], 'com.microsoft', {
    K: inputs,
    N: outputs,
    bits: 4,
    block_size: BLOCK,
  });
  const w = tensor('w', UINT8, [outputs, inputs / BLOCK, BLOCK / 2], nibbles);
  const s = tensor('s', FLOAT, [outputs * (inputs / BLOCK)], scales);
  return model(product, [w, s], matmulCase);
}
